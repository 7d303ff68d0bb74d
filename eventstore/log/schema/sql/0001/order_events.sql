-- The log. Hash-partitioned by stream: replay works bucket by bucket and every order lives in one bucket.
CREATE TABLE order_events (
    id          uuid   NOT NULL,
    order_id    uuid   NOT NULL,
    version     int    NOT NULL,
    event_type  text   NOT NULL,
    event_data  jsonb  NOT NULL,
    created_at  bigint NOT NULL,
    source      text,
    source_id   text,
    metadata    jsonb  NOT NULL DEFAULT '{}',
    PRIMARY KEY (order_id, version),
    CONSTRAINT event_is_valid CHECK (event_is_valid(event_type, event_data, created_at, source, source_id, metadata))
) PARTITION BY HASH (order_id);

COMMENT ON TABLE order_events IS 'Every change to every order, append-only. Write with append_events(), follow with read_events().';
COMMENT ON COLUMN order_events.id IS 'uuidv7 given at append: recorded time and position in the feed';
COMMENT ON COLUMN order_events.version IS '1, 2, 3 … within the order, without gaps';
COMMENT ON COLUMN order_events.created_at IS 'business time: milliseconds since 1970-01-01 UTC';
COMMENT ON COLUMN order_events.source_id IS 'with source: the identity of the producer''s event; a retry is a no-op';

DO $$
BEGIN
    FOR bucket IN 0..15 LOOP
        EXECUTE format('CREATE TABLE order_events_%s PARTITION OF order_events
                        FOR VALUES WITH (MODULUS 16, REMAINDER %s)', lpad(bucket::text, 2, '0'), bucket);
    END LOOP;
END $$;

CREATE INDEX order_events_feed ON order_events (id);
CREATE INDEX order_events_business_time ON order_events (order_id, created_at, version);
CREATE UNIQUE INDEX order_events_source ON order_events (order_id, source, source_id)
    WHERE source_id IS NOT NULL;
