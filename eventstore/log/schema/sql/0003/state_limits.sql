-- What a question about the past of one order has to keep to: its latest version and the last one that may be
-- used, the business time of the first event up to there that the snapshots have not taken in (null: none),
-- and the rules of the table orders.
CREATE FUNCTION state_limits(order_id uuid, known_ms bigint, version int, OUT latest int, OUT last int,
                             OUT first_unseen bigint, OUT fold_version text)
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    seen    int;
    unseen  bigint;
BEGIN
    SELECT e.version INTO latest FROM order_events e
     WHERE e.order_id = $1 ORDER BY e.version DESC LIMIT 1;
    last := least(latest, order_version_at($1, uuidv7_ceiling(known_ms)), $3);
    SELECT order_version_at($1, p.watermark) INTO seen FROM projections p WHERE p.name = 'order_snapshots';
    IF last > coalesce(seen, 0) THEN
        -- Counting a column that the index by business time lacks keeps PostgreSQL from reading the stream there.
        SELECT min(e.created_at), count(e.event_type) INTO first_unseen, unseen
          FROM order_events e WHERE e.order_id = $1 AND e.version > coalesce(seen, 0) AND e.version <= last;
    END IF;
    SELECT p.fold_version INTO state_limits.fold_version FROM projections p WHERE p.name = 'orders';
END $$;
