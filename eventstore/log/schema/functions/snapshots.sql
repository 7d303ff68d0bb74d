-- The version that an order had when the feed stood at an id: within an order ids rise with versions, which
-- have no gaps, so a few probes of the primary key find it however long the stream is.
CREATE OR REPLACE FUNCTION order_version_at(order_id uuid, id uuid) RETURNS int LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    lowest  int := 0;
    highest int;
    middle  int;
BEGIN
    SELECT e.version INTO highest FROM order_events e
     WHERE e.order_id = order_version_at.order_id ORDER BY e.version DESC LIMIT 1;
    middle := highest;  -- most questions are about the recent past: look at the end first
    WHILE lowest < highest LOOP
        IF (SELECT e.id FROM order_events e
             WHERE e.order_id = order_version_at.order_id AND e.version = middle) <= order_version_at.id THEN
            lowest := middle;
        ELSE
            highest := middle - 1;
        END IF;
        middle := (lowest + highest + 1) / 2;
    END LOOP;
    RETURN lowest;
END $$;

-- The snapshot or checkpoint to start a fold from: the latest that lies before a position in the order of the
-- fold and holds no version above max_version. Written as "= $1", PostgreSQL may walk through all orders by
-- the index of days where it believes that there are few snapshots.
CREATE OR REPLACE FUNCTION latest_snapshot(order_id uuid, before_at bigint, before_version int, max_version int,
                                fold_version text)
    RETURNS SETOF order_snapshots LANGUAGE sql STABLE AS $$
    SELECT * FROM (
        (SELECT s.* FROM order_snapshots s
          WHERE (s.order_id, s.day) <= ($1, business_day(before_at)) AND s.order_id BETWEEN $1 AND $1
            AND (s.until_at, s.until_version) < (before_at, before_version)
            AND s.version <= max_version AND s.fold_version = $5
          ORDER BY s.order_id DESC, s.day DESC LIMIT 1)
        UNION ALL
        (SELECT c.* FROM order_checkpoints c
          WHERE c.order_id = $1 AND (c.until_at, c.until_version) < (before_at, before_version)
            AND c.version <= max_version AND c.fold_version = $5
          ORDER BY c.until_at DESC, c.until_version DESC LIMIT 1)) found
     ORDER BY until_at DESC, until_version DESC LIMIT 1;
$$;

-- What a question about the past of one order has to keep to: its latest version and the last one that may be
-- used, the business time of the first event up to there that the snapshots have not taken in (null: none),
-- and the rules of the table orders.
CREATE OR REPLACE FUNCTION state_limits(order_id uuid, known_ms bigint, version int, OUT latest int, OUT last int,
                             OUT first_unseen bigint, OUT fold_version text)
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    seen    int;
    unseen  bigint;
BEGIN
    SELECT e.version INTO latest FROM order_events e
     WHERE e.order_id = $1 ORDER BY e.version DESC LIMIT 1;
    last := least(latest, order_version_at($1, uuidv7_ceiling(known_ms)), $3);
    -- Snapshots that are ahead of the log, whose last event was taken away, have seen nothing.
    SELECT CASE WHEN p.watermark = uuidv7_ceiling(uuidv7_ms(p.watermark))
                     OR EXISTS (SELECT FROM order_events e WHERE e.id = p.watermark)
                THEN order_version_at($1, p.watermark) END
      INTO seen FROM projections p WHERE p.name = 'order_snapshots';
    IF last > coalesce(seen, 0) THEN
        -- Counting a column that the index by business time lacks keeps PostgreSQL from reading the stream there.
        SELECT min(e.created_at), count(e.event_type) INTO first_unseen, unseen
          FROM order_events e WHERE e.order_id = $1 AND e.version > coalesce(seen, 0) AND e.version <= last;
    END IF;
    SELECT p.fold_version INTO state_limits.fold_version FROM projections p WHERE p.name = 'orders';
END $$;
