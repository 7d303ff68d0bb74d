-- Named followers of the feed, so that they resume where they were and their lag is shown.
CREATE TABLE consumers (
    name        text PRIMARY KEY CHECK (name <> '' AND length(name) <= 200),
    watermark   uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN consumers.watermark IS 'the last event that the consumer is done with';

-- Remembers how far a consumer is, and registers it the first time. A watermark never goes back by itself:
-- a process that was slow to notice its successor changes nothing.
CREATE FUNCTION save_watermark(consumer text, watermark uuid) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO consumers AS c (name, watermark) VALUES (consumer, save_watermark.watermark)
    ON CONFLICT (name) DO UPDATE SET watermark = excluded.watermark, updated_at = now()
     WHERE c.watermark < excluded.watermark;
$$;

-- The events of an order that its row in orders does not hold yet: with the row, the exact current state.
CREATE FUNCTION order_tail(order_id uuid) RETURNS SETOF order_events LANGUAGE sql STABLE AS $$
    SELECT e.* FROM order_events e
     WHERE e.order_id = $1
       AND e.version > coalesce((SELECT o.version FROM orders o WHERE o.order_id = $1), 0)
     ORDER BY e.version;
$$;

REVOKE ALL ON FUNCTION save_watermark FROM PUBLIC;
GRANT SELECT ON consumers TO eventstore_reader, eventstore_projector;
GRANT EXECUTE ON FUNCTION save_watermark TO eventstore_reader, eventstore_projector;
