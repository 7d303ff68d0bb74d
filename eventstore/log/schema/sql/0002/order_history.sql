-- Every state that an order was in: when it was true (valid: business time) and when that was what we knew
-- (recorded). Periods are [from, to), 'infinity' while they last. A row is never changed but for its
-- recorded_to, when later events supersede it.
CREATE TABLE order_history (
    LIKE orders INCLUDING COMMENTS,
    valid_from     timestamptz NOT NULL,
    valid_to       timestamptz NOT NULL,
    recorded_from  timestamptz NOT NULL,
    recorded_to    timestamptz NOT NULL,
    -- What stands, or stood until one moment, begins at different times. Folding events twice fails here.
    PRIMARY KEY (order_id, recorded_to, valid_from),
    CONSTRAINT valid_period_is_not_empty CHECK (valid_from < valid_to),
    CONSTRAINT recorded_period_is_not_empty CHECK (recorded_from < recorded_to)
);
COMMENT ON TABLE order_history IS
    'Each state of each order, when it was true and when we knew. Ask it with orders_as_of() and order_as_of().';
COMMENT ON COLUMN order_history.valid_from IS 'business time of the event that led to this state';
COMMENT ON COLUMN order_history.valid_to IS 'business time of the next event, infinity where there is none';
COMMENT ON COLUMN order_history.recorded_from IS 'when the event was recorded that made us know this row';
COMMENT ON COLUMN order_history.recorded_to IS
    'when an event was recorded that supersedes this row; infinity where it still stands';

-- Rows lie roughly in the order of both times: a few kilobytes say where the early ones end.
CREATE INDEX order_history_times ON order_history USING brin (recorded_from, valid_from)
    WITH (autosummarize = on);

CREATE INDEX order_history_with_unknown_events ON order_history (order_id) WHERE unknown_events <> '{}';

-- What a replay builds, beside the live table and in the same buckets as the log.
CREATE TABLE order_history_candidate (
    LIKE order_history INCLUDING CONSTRAINTS,
    PRIMARY KEY (order_id, recorded_to, valid_from)
) PARTITION BY HASH (order_id);
DO $$
BEGIN
    FOR bucket IN 0..15 LOOP
        EXECUTE format('CREATE TABLE order_history_candidate_%s PARTITION OF order_history_candidate
                        FOR VALUES WITH (MODULUS 16, REMAINDER %s)', lpad(bucket::text, 2, '0'), bucket);
    END LOOP;
END $$;
