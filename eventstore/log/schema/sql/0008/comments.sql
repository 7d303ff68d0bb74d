-- What tables and columns are that did not say so yet. Comments only.
COMMENT ON COLUMN order_events.order_id IS 'the stream';
COMMENT ON COLUMN order_events.event_type IS 'the name of the event type, such as OrderPaid';
COMMENT ON COLUMN order_events.event_data IS 'the payload, a JSON object, as it was given';
COMMENT ON COLUMN order_events.source IS 'the producer; with source_id or not at all';
COMMENT ON COLUMN order_events.metadata IS
    'what is said about the event: actor, correlation and causation, schema_version of the payload';

COMMENT ON TABLE orders IS 'The current state of each order: the fold of its events, as of the last refresh.';
COMMENT ON COLUMN orders.order_id IS 'the stream';
COMMENT ON COLUMN orders.amount IS 'what the order costs, as last corrected; null until that is known';
COMMENT ON COLUMN orders.currency IS 'of amount, an ISO 4217 code; null until that is known';
COMMENT ON COLUMN orders.status IS 'what the facts amount to that are there: the last one in the life of an order';
COMMENT ON COLUMN orders.paid_amount IS 'the sum of all payments';
COMMENT ON COLUMN orders.refunded_amount IS 'the sum of all refunds';
COMMENT ON COLUMN orders.placed_at IS 'business time of OrderCreated; null without it';
COMMENT ON COLUMN orders.paid_at IS 'business time of the first OrderPaid; null without it';
COMMENT ON COLUMN orders.shipped_at IS 'business time of the first OrderShipped; null without it';
COMMENT ON COLUMN orders.delivered_at IS 'business time of the first OrderDelivered; null without it';
COMMENT ON COLUMN orders.cancelled_at IS 'business time of the first OrderCancelled; null without it';
COMMENT ON COLUMN orders.refunded_at IS 'business time of the first OrderRefunded; null without it';
COMMENT ON COLUMN orders.last_event_id IS 'the id of the event of that version';
COMMENT ON COLUMN orders.anomalies IS 'what is odd, such as shipped_before_paid';

COMMENT ON COLUMN order_snapshots.day IS 'the business day (UTC)';
COMMENT ON COLUMN order_snapshots.until_version IS 'with until_at: the row holds the events up to there in the order of the fold';
COMMENT ON TABLE order_snapshot_days IS 'The days that were built, also those on which no order changed.';
COMMENT ON COLUMN order_snapshot_days.fold_version IS 'the rules by which they were built';
COMMENT ON TABLE order_checkpoints IS
    'States within a long day, every so many events: where a fold starts in the middle of it.';
COMMENT ON COLUMN order_checkpoints.day IS 'the business day (UTC)';
COMMENT ON COLUMN order_checkpoints.until_at IS 'business time of the last event in it, in milliseconds';
COMMENT ON COLUMN order_checkpoints.until_version IS 'the version of that event';

COMMENT ON COLUMN daily_order_metrics.day IS 'the business day (UTC)';
COMMENT ON COLUMN daily_payments.day IS 'the business day (UTC) of the payment';
COMMENT ON COLUMN daily_payments.currency IS 'of the payment';
COMMENT ON COLUMN daily_payments.revenue IS 'the sum of all OrderPaid';
COMMENT ON COLUMN daily_payments.refunds IS 'the sum of all OrderRefunded';

COMMENT ON TABLE projections IS 'How far each table that is made from the log is, and by which rules.';
COMMENT ON COLUMN projections.name IS 'the table';
COMMENT ON COLUMN projections.watermark IS 'the id of the last event that it is done with';
COMMENT ON COLUMN projections.fold_version IS 'the rules by which its rows were folded';
COMMENT ON COLUMN projections.updated_at IS 'when it was last brought forward';

COMMENT ON TABLE replay_buckets IS 'The buckets of the candidates: how far each replay is.';
COMMENT ON COLUMN replay_buckets.bucket IS 'of the log, 0 to 15';
COMMENT ON COLUMN replay_buckets.fold_version IS 'the rules by which it was folded';
COMMENT ON COLUMN replay_buckets.watermark IS 'the id of the last event in it';
COMMENT ON COLUMN replay_buckets.events IS 'how many events were folded';
COMMENT ON COLUMN replay_buckets.rows IS 'how many rows that made';

COMMENT ON TABLE quarantine IS 'Orders with an event that cannot be folded or written; read quarantined_orders.';
COMMENT ON COLUMN quarantine.projection IS 'the table that shows only the events before that one';
COMMENT ON COLUMN quarantine.error IS 'why, in words';
COMMENT ON COLUMN quarantine.event_type IS 'of that event';

COMMENT ON TABLE consumers IS 'Named readers of the feed. Written by save_watermark(), reset_watermark() and delete_consumer().';
COMMENT ON COLUMN consumers.name IS 'what it subscribes under';
COMMENT ON COLUMN consumers.updated_at IS 'when it last saved its watermark';

COMMENT ON TABLE rejects IS 'Records of files that could not be appended, each with its reason.';
COMMENT ON COLUMN rejects.file IS 'the path of the file';
COMMENT ON COLUMN rejects.line IS 'where in the file, from 1';
COMMENT ON COLUMN rejects.detail IS 'the reason in words';
COMMENT ON COLUMN rejects.raw_sha256 IS 'by it the same record of the same file is rejected once';

COMMENT ON TABLE ingested_files IS 'Files that were read to their end: they are not read again unless they change.';
COMMENT ON COLUMN ingested_files.file IS 'its path; with size and modified_ns the version of the file';
COMMENT ON COLUMN ingested_files.read IS 'how many records it had';
COMMENT ON COLUMN ingested_files.appended IS 'how many of them became events';
COMMENT ON COLUMN ingested_files.duplicates IS 'how many were in the log already';
COMMENT ON COLUMN ingested_files.rejected IS 'how many became rejects';
COMMENT ON COLUMN landing_files.begun_at IS 'when it was last begun';

COMMENT ON TABLE schema_functions IS 'Which functions the database has: they are created anew where their files say something else.';
COMMENT ON COLUMN schema_functions.digest IS 'SHA-256 of their files';
