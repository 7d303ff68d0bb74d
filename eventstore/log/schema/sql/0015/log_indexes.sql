-- The indexes that each bucket has of its own, and the end of those that they replace. Only where the log is empty: on
-- one with events eventstore.log.schema.log_indexes builds the same, afterwards, beside the work that goes on.
DO $$
DECLARE
    bucket text;
BEGIN
    IF EXISTS (SELECT FROM order_events) THEN
        RETURN;
    END IF;
    FOR bucket IN SELECT 'order_events_' || lpad(n::text, 2, '0') FROM generate_series(0, 15) AS n LOOP
        EXECUTE format('CREATE UNIQUE INDEX %1$s_identity ON %1$s (event_identity(order_id, source, source_id))
                        WHERE source_id IS NOT NULL', bucket);
        EXECUTE format('CREATE INDEX %1$s_long_streams ON %1$s (order_id, created_at, version)
                        WHERE version > 32', bucket);
    END LOOP;
    DROP INDEX order_events_source, order_events_business_time;
END $$;
