-- Remembers how far a consumer is, and registers it the first time. A watermark never goes back by itself:
-- a process that was slow to notice its successor changes nothing.
CREATE OR REPLACE FUNCTION save_watermark(consumer text, watermark uuid) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO consumers AS c (name, watermark) VALUES (consumer, save_watermark.watermark)
    ON CONFLICT (name) DO UPDATE SET watermark = excluded.watermark, updated_at = now()
     WHERE c.watermark < excluded.watermark;
$$;

-- The events of an order that its row in orders does not hold yet: with the row, the exact current state.
CREATE OR REPLACE FUNCTION order_tail(order_id uuid) RETURNS SETOF order_events LANGUAGE sql STABLE AS $$
    SELECT e.* FROM order_events e
     WHERE e.order_id = $1
       AND e.version > coalesce((SELECT o.version FROM orders o WHERE o.order_id = $1), 0)
     ORDER BY e.version;
$$;
