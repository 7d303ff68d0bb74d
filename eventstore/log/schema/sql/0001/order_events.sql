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
    CONSTRAINT version_starts_at_1 CHECK (version > 0),
    CONSTRAINT event_type_is_a_name CHECK (event_type <> '' AND length(event_type) <= 200),
    CONSTRAINT event_data_is_an_object CHECK (jsonb_typeof(event_data) = 'object'),
    CONSTRAINT metadata_is_an_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT created_at_is_ms_within_years_1_to_9999
        CHECK (created_at BETWEEN -62135596800000 AND 253402300799999),
    CONSTRAINT source_and_source_id_come_together CHECK ((source IS NULL) = (source_id IS NULL)),
    -- Money is a decimal string that fits DECIMAL(10,2) exactly. Payload version 1 counted integer cents.
    CONSTRAINT amount_is_a_string_that_fits_decimal_10_2 CHECK (
        NOT event_data ? 'amount'
        OR CASE jsonb_typeof(event_data -> 'amount')
               WHEN 'string' THEN event_data ->> 'amount' ~ '^-?[0-9]{1,8}(\.[0-9]{1,2}0*)?$'
               WHEN 'number' THEN metadata ->> 'schema_version' IS NOT DISTINCT FROM '1'
                                  AND event_data ->> 'amount' ~ '^-?[0-9]{1,10}$'
               ELSE false
           END)
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
