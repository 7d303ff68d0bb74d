GRANT SELECT ON order_history, order_history_candidate TO eventstore_reader, eventstore_projector;
GRANT EXECUTE ON FUNCTION orders_as_of, order_as_of TO eventstore_reader, eventstore_projector;

-- A history row can be closed and marked with its rules, never changed. Promoting a replay deletes and inserts.
GRANT INSERT, UPDATE (recorded_to, fold_version), DELETE ON order_history TO eventstore_projector;
GRANT INSERT, UPDATE (recorded_to), DELETE, TRUNCATE ON order_history_candidate TO eventstore_projector;
DO $$
DECLARE
    bucket_table regclass;
BEGIN
    FOR bucket_table IN SELECT relid FROM pg_partition_tree('order_history_candidate') LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE (recorded_to), DELETE, TRUNCATE ON %s TO eventstore_projector',
                       bucket_table);
    END LOOP;
END $$;
