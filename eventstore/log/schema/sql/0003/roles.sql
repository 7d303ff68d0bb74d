GRANT SELECT ON order_snapshots, order_snapshot_days, order_checkpoints, customers, daily_order_metrics
    TO eventstore_reader, eventstore_projector;
GRANT INSERT, UPDATE, DELETE ON order_snapshots, order_snapshot_days, order_checkpoints, customers,
                                daily_order_metrics TO eventstore_projector;
