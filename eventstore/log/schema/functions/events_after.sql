-- An order's first 32 events are found by its versions and sorted; those of a long stream have an index by business
-- time (log_indexes.py). Whoever asks by business time asks for the two apart, so that each uses its index.

-- The events of an order that come after a position in the order of the fold, in any order. Inlined into the query
-- that calls it, so that its WHERE reaches the indexes.
CREATE OR REPLACE FUNCTION events_after(order_id uuid, at bigint, version int) RETURNS SETOF order_events
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT * FROM public.order_events e
     WHERE e.order_id = events_after.order_id AND e.version <= 32
       AND (e.created_at, e.version) > (events_after.at, events_after.version)
    UNION ALL
    SELECT * FROM public.order_events e
     WHERE e.order_id = events_after.order_id AND e.version > 32
       AND (e.created_at, e.version) > (events_after.at, events_after.version)
$$;

-- The latest business time in an order; null where it has no event.
CREATE OR REPLACE FUNCTION last_business_time(order_id uuid) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN greatest(
        (SELECT max(e.created_at) FROM order_events e
          WHERE e.order_id = last_business_time.order_id AND e.version <= 32),
        (SELECT e.created_at FROM order_events e
          WHERE e.order_id = last_business_time.order_id AND e.version > 32
          ORDER BY e.created_at DESC LIMIT 1));
END $$;
