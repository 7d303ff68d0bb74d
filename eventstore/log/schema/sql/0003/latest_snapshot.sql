-- The snapshot or checkpoint to start a fold from: the latest that lies before a position in the order of the
-- fold and holds no version above max_version.
CREATE FUNCTION latest_snapshot(order_id uuid, before_at bigint, before_version int, max_version int,
                                fold_version text)
    RETURNS SETOF order_snapshots LANGUAGE sql STABLE AS $$
    SELECT * FROM (
        (SELECT s.* FROM order_snapshots s
          WHERE s.order_id = $1 AND s.day <= business_day(before_at)
            AND (s.until_at, s.until_version) < (before_at, before_version)
            AND s.version <= max_version AND s.fold_version = $5
          ORDER BY s.day DESC LIMIT 1)
        UNION ALL
        (SELECT c.* FROM order_checkpoints c
          WHERE c.order_id = $1 AND (c.until_at, c.until_version) < (before_at, before_version)
            AND c.version <= max_version AND c.fold_version = $5
          ORDER BY c.until_at DESC, c.until_version DESC LIMIT 1)) found
     ORDER BY until_at DESC, until_version DESC LIMIT 1;
$$;
