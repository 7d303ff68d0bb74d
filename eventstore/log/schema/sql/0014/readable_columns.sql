-- What the columns are that did not say so yet, and what others are in words that need no glossary. Comments only.
-- Tables that have the columns of another take its comments over at each upgrade: functions/comments.sql.
COMMENT ON TABLE alembic_version IS 'The revision of this schema. Written by `eventstore init`.';
COMMENT ON COLUMN alembic_version.version_num IS 'the newest revision that was run';

COMMENT ON COLUMN order_events.id IS
    'the event''s own id, a uuidv7 given when it was recorded: sorting by it sorts by the time of recording';
COMMENT ON COLUMN order_events.order_id IS 'the order that the event happened to';
COMMENT ON COLUMN order_events.version IS 'which event of the order it is, in the order of recording: 1, 2, 3 …, without gaps';
COMMENT ON COLUMN order_events.event_type IS 'what happened, such as OrderPaid';
COMMENT ON COLUMN order_events.event_data IS 'the details of what happened, a JSON object, as the producer gave it';
COMMENT ON COLUMN order_events.created_at IS
    'business time: when it happened, in milliseconds since 1970-01-01 UTC; business_time(created_at) is the timestamp';
COMMENT ON COLUMN order_events.source IS 'who sent the event, as a URI; null where nobody said; given together with source_id';
COMMENT ON COLUMN order_events.source_id IS
    'the sender''s own id of the event: sent again, it is not appended again; null where nobody said';

COMMENT ON TABLE orders IS 'The current state of each order, computed from all of its events up to the last refresh.';
COMMENT ON COLUMN orders.order_id IS 'which order';
COMMENT ON COLUMN orders.customer_id IS 'who placed the order; null until its OrderCreated has arrived';
COMMENT ON COLUMN orders.amount IS 'what the order costs: as created, or as last corrected; null until that is known';
COMMENT ON COLUMN orders.currency IS 'the currency of amount, an ISO 4217 code such as EUR; null until that is known';
COMMENT ON COLUMN orders.status IS
    'how far the order is: Created, Paid, Shipped, Delivered or Cancelled; Unknown where no event says';
COMMENT ON COLUMN orders.paid_amount IS 'the sum of all payments (OrderPaid)';
COMMENT ON COLUMN orders.refunded_amount IS 'the sum of all refunds (OrderRefunded)';
COMMENT ON COLUMN orders.placed_at IS 'when the order was placed (OrderCreated); null until that is known';
COMMENT ON COLUMN orders.paid_at IS 'when it was first paid (OrderPaid); null while it is not';
COMMENT ON COLUMN orders.shipped_at IS 'when it was first shipped (OrderShipped); null while it is not';
COMMENT ON COLUMN orders.delivered_at IS 'when it was first delivered (OrderDelivered); null while it is not';
COMMENT ON COLUMN orders.cancelled_at IS 'when it was first cancelled (OrderCancelled); null while it is not';
COMMENT ON COLUMN orders.refunded_at IS 'when money first went back (OrderRefunded); null while none did';
COMMENT ON COLUMN orders.version IS 'how many events of the order this row knows: order_events.version of the newest of them';
COMMENT ON COLUMN orders.last_event_id IS 'the id of that newest event, as in order_events';
COMMENT ON COLUMN orders.last_event_at IS 'when the latest thing happened to the order, in business time';
COMMENT ON COLUMN orders.anomalies IS
    'what is odd about the order, such as shipped_before_paid; empty where nothing is';
COMMENT ON COLUMN orders.unknown_events IS
    'types of its events that this release does not know and left out; a release that knows them computes the order again by itself';
COMMENT ON COLUMN orders.fold_version IS
    'the version of the rules this row was computed by, where that is another than the whole table''s; null: the same';

COMMENT ON TABLE order_history IS
    'Every state that each order was in: when it was so, and when we knew it. Ask it with orders_as_of() and order_as_of().';
COMMENT ON COLUMN order_history.valid_from IS 'from when the order was in this state (business time)';
COMMENT ON COLUMN order_history.valid_to IS 'until when, this moment not included; infinity while it still is';
COMMENT ON COLUMN order_history.recorded_from IS 'since when we know it: the recording of the event that told us';
COMMENT ON COLUMN order_history.recorded_to IS
    'until when we believed it: the recording of an event that told us better; infinity while we still do';

-- Of these it says what orders does.
COMMENT ON COLUMN order_history.customer_id IS NULL;
COMMENT ON COLUMN order_history.version IS NULL;
COMMENT ON COLUMN order_history.last_event_at IS NULL;
COMMENT ON COLUMN order_history.unknown_events IS NULL;
COMMENT ON COLUMN order_history.fold_version IS NULL;

COMMENT ON COLUMN order_snapshots.day IS 'the business day (UTC) at whose end the order was in this state';
COMMENT ON COLUMN order_snapshots.fold_version IS 'the version of the rules this row was computed by';
COMMENT ON COLUMN order_snapshots.until_at IS 'the last millisecond of the day, since 1970-01-01 UTC';
COMMENT ON COLUMN order_snapshots.until_version IS
    'together with until_at: how far into the order''s events the row reaches, sorted by created_at, then version';
COMMENT ON COLUMN order_snapshots.events IS
    'how many events the row is made of; fewer than its version where some of those happened after the day';
COMMENT ON COLUMN order_snapshot_days.day IS 'the business day (UTC)';
COMMENT ON COLUMN order_snapshot_days.built_at IS 'when its snapshots were built';
COMMENT ON COLUMN order_checkpoints.fold_version IS 'the version of the rules this row was computed by';

COMMENT ON COLUMN customers.customer_id IS 'which customer';
COMMENT ON COLUMN customers.currency IS 'the currency of these orders, an ISO 4217 code such as EUR';

COMMENT ON COLUMN order_counts.orders IS 'how many orders that are';

COMMENT ON COLUMN change_queues.name IS 'the derived table, or the queue that one reads besides its own';

COMMENT ON COLUMN consumers.created_at IS 'when it first saved its watermark';

COMMENT ON COLUMN ingested_files.size IS 'its size in bytes';
COMMENT ON COLUMN ingested_files.modified_ns IS 'when it was last changed, in nanoseconds since 1970-01-01 UTC';
COMMENT ON COLUMN ingested_files.finished_at IS 'when it was read to its end';

COMMENT ON COLUMN landing_files.size IS 'its size in bytes';
COMMENT ON COLUMN landing_files.modified_ns IS 'when it was last changed, in nanoseconds since 1970-01-01 UTC';

COMMENT ON COLUMN log_epochs.epoch IS 'its number: the log began in epoch 1';
COMMENT ON COLUMN log_epochs.since IS 'when it was declared';
COMMENT ON COLUMN log_epochs.reason IS 'why it was begun, in words';

COMMENT ON TABLE proofs IS 'How far each comparison of a table with the log is, which goes on night by night.';
COMMENT ON COLUMN proofs.name IS 'what is compared, such as orders';
COMMENT ON COLUMN proofs.round_began_at IS 'when the present walk through everything began';
COMMENT ON COLUMN proofs.run_began_at IS 'when the last run began';
COMMENT ON COLUMN proofs.run_events IS 'how many events the last run looked at';
COMMENT ON COLUMN proofs.whole_at IS 'when a walk last came to its end: everything was compared then';
COMMENT ON TABLE proof_findings IS 'Where a table differs from the log and is not mended yet: each run looks at it once more.';
COMMENT ON COLUMN proof_findings.proof IS 'which comparison found it';
COMMENT ON COLUMN proof_findings.what IS 'what is wrong with it, in words';
COMMENT ON COLUMN proof_findings.found_at IS 'when it was found';

COMMENT ON COLUMN quarantine.order_id IS 'which order';
COMMENT ON COLUMN quarantine.since IS 'since when its row stands still';
COMMENT ON COLUMN quarantined_payments_changes.held IS 'how many more (or fewer) of its events are held back now';
COMMENT ON COLUMN quarantined_orders.projection IS 'the table that shows only the events before the one that fails';
COMMENT ON COLUMN quarantined_orders.order_id IS 'which order';
COMMENT ON COLUMN quarantined_orders.version IS 'which of its events fails';
COMMENT ON COLUMN quarantined_orders.event_type IS 'the type of that event';
COMMENT ON COLUMN quarantined_orders.error IS 'why it fails, in words';
COMMENT ON COLUMN quarantined_orders.since IS 'since when the row of the order stands still';

COMMENT ON COLUMN rejects.id IS 'its number: `eventstore rejects` shows it';
COMMENT ON COLUMN rejects.rejected_at IS 'when the file was read';

COMMENT ON COLUMN replay_buckets.projection IS 'the table that is replayed';
COMMENT ON COLUMN replay_buckets.finished_at IS 'when the bucket was through';

COMMENT ON COLUMN scanned_horizon.only_row IS 'always true: the table has one row at most';
COMMENT ON COLUMN scanned_horizon.noted_at IS 'when it was written, by the clock of the primary';
COMMENT ON COLUMN scanned_horizon.timeline IS 'the timeline of the server that wrote it';
COMMENT ON COLUMN scanned_horizon.log IS 'the oid of order_events where it was written';

COMMENT ON COLUMN seal_checkpoints.number IS '1, 2, 3 …: each covers all that the one before it did, and more';
COMMENT ON COLUMN seal_checkpoints.epoch IS 'the epoch of the log it was made in: log_epochs tells of them';
COMMENT ON COLUMN seal_checkpoints.sealed_at IS 'when it was made';
COMMENT ON COLUMN seal_keys.number IS '1, 2, 3 …: the order in which they were used';
COMMENT ON COLUMN seal_tiles.bucket IS 'the bucket of the log, 0 to 15';
COMMENT ON COLUMN seal_tiles.leaves IS 'the hashes of its events, 32 bytes each, in the order of their ids';
COMMENT ON COLUMN seal_timestamps.checkpoint IS 'the number of the checkpoint that was stamped';
COMMENT ON COLUMN seal_timestamps.authority IS 'who stamped it: the URL that was asked';
COMMENT ON COLUMN seal_timestamps.reply IS 'its answer (RFC 3161, DER), as it came';
COMMENT ON COLUMN seal_trees.bucket IS 'the bucket of the log, 0 to 15';
COMMENT ON COLUMN seal_trees.tiles IS 'how many whole tiles it has';
COMMENT ON COLUMN seal_verification.only_row IS 'always true: the table has one row';
COMMENT ON COLUMN seal_verification.tile IS 'with bucket: what is verified next';

COMMENT ON COLUMN settings.only_row IS 'always true: the table has one row';

COMMENT ON COLUMN rebuild_steps.read_model IS 'which table is made anew';
