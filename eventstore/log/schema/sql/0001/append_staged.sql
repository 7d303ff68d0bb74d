-- Appends what was copied into staged_events, set-based, in the order of its lines. Returns the lines that
-- were not appended: 'duplicate' (this very event is recorded) or 'conflict' (its source and id stand for
-- another event of the order).
CREATE FUNCTION append_staged() RETURNS TABLE (line bigint, outcome text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
    -- One plan for all chunks: it probes indexes, however much the log has grown since it was made.
    SET plan_cache_mode = force_generic_plan SET jit = off SET work_mem = '32MB' AS $$
#variable_conflict use_column
DECLARE
    floor_ms    bigint := hold_horizon();
    now_ms      bigint := clock_ms();
    later       bigint[];
    contested   bigint[];
    known_lines bigint[];
    known_same  boolean[];
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('pg_temp.staged_events') AND relkind = 'r'
                                          AND pg_get_userbyid(relowner) = current_user) THEN
        RAISE EXCEPTION 'there is no staging table of the log in this session'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call open_staging(), then COPY into it.';
    END IF;
    LOOP
        -- The same identity twice in one chunk: the first line now, the others in the next turn, when it is recorded.
        SELECT coalesce(array_agg(s.line), '{}') INTO later
          FROM (SELECT order_id, source, source_id, min(line) AS first_line
                  FROM pg_temp.staged_events GROUP BY order_id, source, source_id HAVING count(*) > 1) twice
          JOIN pg_temp.staged_events s USING (order_id, source, source_id)
         WHERE s.line > twice.first_line;

        -- One statement, so one snapshot: what it sees recorded and the versions that it counts from agree.
        WITH streams AS MATERIALIZED (
            SELECT o.order_id, last.version, last.id
              FROM (SELECT DISTINCT order_id FROM pg_temp.staged_events) o
              LEFT JOIN LATERAL (SELECT version, id FROM order_events e
                                  WHERE e.order_id = o.order_id ORDER BY version DESC LIMIT 1) last ON true
        ), staged AS MATERIALIZED (
            SELECT s.line, s.order_id, s.created_at, o.version AS last_version, recorded.same
              FROM pg_temp.staged_events s
              JOIN streams o USING (order_id)
              LEFT JOIN LATERAL (
                   SELECT e.event_type = s.event_type AND e.event_data = s.event_data
                          AND (s.created_at IS NULL OR e.created_at = s.created_at) AS same
                     FROM order_events e
                    WHERE e.order_id = s.order_id AND e.source = s.source AND e.source_id = s.source_id
                    LIMIT 1) recorded ON o.version IS NOT NULL
             WHERE s.line NOT IN (SELECT unnest(later))
        ), fresh AS MATERIALIZED (
            SELECT line, order_id, coalesce(last_version, 0) + row_number() OVER stream AS version,
                   row_number() OVER stream = 1 AS is_first,
                   (row_number() OVER (ORDER BY line))::int AS counter,
                   -- Not dated by its producer: stamped by this clock, never before the order's last event.
                   CASE WHEN created_at IS NULL
                        THEN greatest(now_ms, max(created_at) OVER stream,
                                      (SELECT max(created_at) FROM order_events e WHERE e.order_id = s.order_id))
                        ELSE created_at END AS happened_at
              FROM staged s
             WHERE same IS NULL
            WINDOW stream AS (PARTITION BY order_id ORDER BY line)
        ), mint AS MATERIALIZED (
            SELECT greatest(floor_ms, clock_ms(), published_ms + 1,
                            (SELECT uuidv7_ms(id) + 1 FROM streams WHERE id IS NOT NULL ORDER BY id DESC LIMIT 1)) AS ms
              FROM feed_horizon
        ), claimed AS (
            -- The first new version of each order is the claim on it (see record_events): where somebody else
            -- appended to the order meanwhile, nothing happens here, and the next turn counts again.
            INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
            SELECT uuidv7_at((SELECT ms FROM mint), f.counter), s.order_id, f.version, s.event_type, s.event_data,
                   f.happened_at, s.source, s.source_id, s.metadata
              FROM fresh f JOIN pg_temp.staged_events s USING (line)
             WHERE f.is_first
             ORDER BY s.order_id  -- in one order in all sessions, against deadlocks
            ON CONFLICT DO NOTHING
            RETURNING order_id
        ), followed AS (
            INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
            SELECT uuidv7_at((SELECT ms FROM mint), f.counter), s.order_id, f.version, s.event_type, s.event_data,
                   f.happened_at, s.source, s.source_id, s.metadata
              FROM fresh f JOIN pg_temp.staged_events s USING (line)
             WHERE NOT f.is_first AND f.order_id IN (SELECT order_id FROM claimed)
        )
        SELECT (SELECT array_agg(line) FROM fresh WHERE order_id NOT IN (SELECT order_id FROM claimed)),
               known.lines, known.same
          INTO contested, known_lines, known_same
          FROM (SELECT array_agg(line) AS lines, array_agg(same) AS same FROM staged WHERE same IS NOT NULL) known;

        RETURN QUERY SELECT known.line, CASE WHEN known.same THEN 'duplicate' ELSE 'conflict' END
                       FROM unnest(known_lines, known_same) AS known (line, same);
        later := later || coalesce(contested, '{}');
        EXIT WHEN later = '{}';
        DELETE FROM pg_temp.staged_events WHERE line NOT IN (SELECT unnest(later));
    END LOOP;
END $$;
