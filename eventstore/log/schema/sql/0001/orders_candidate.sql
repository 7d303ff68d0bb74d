-- What a replay of orders builds, beside the live table and in the same buckets as the log.
CREATE TABLE orders_candidate (LIKE orders INCLUDING ALL) PARTITION BY HASH (order_id);
GRANT SELECT ON orders, orders_candidate TO eventstore_reader, eventstore_projector;
GRANT INSERT, UPDATE, DELETE ON orders TO eventstore_projector;
GRANT INSERT, UPDATE, DELETE, TRUNCATE ON orders_candidate TO eventstore_projector;
DO $$
DECLARE
    bucket_table text;
BEGIN
    FOR bucket IN 0..15 LOOP
        bucket_table := 'orders_candidate_' || lpad(bucket::text, 2, '0');
        EXECUTE format('CREATE TABLE %I PARTITION OF orders_candidate FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
                       bucket_table, bucket);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %I TO eventstore_projector', bucket_table);
    END LOOP;
END $$;
