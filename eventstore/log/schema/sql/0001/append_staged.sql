-- Appends what was copied into staged_events, set-based, in the order of its lines. Returns the lines that
-- were not appended: 'duplicate' (this very event is recorded) or 'conflict' (its source and id stand for
-- another event of the order). It looks for duplicates when a unique index has found one; a caller that expects
-- some, as in the chunk before, says so: that is faster and leaves no dead rows in the log.
CREATE FUNCTION append_staged(expect_duplicates boolean DEFAULT false) RETURNS TABLE (line bigint, outcome text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
    -- One plan for all chunks, which probes indexes however much the log has grown since it was made.
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off SET work_mem = '32MB' AS $$
#variable_conflict use_column
DECLARE
    mint_ms  bigint := hold_horizon();
    now_ms   bigint := clock_ms();
    repeats  bigint[] := '{}';  -- lines with the identity of an earlier line
    attempt  int := 1;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('pg_temp.staged_events') AND relkind = 'r'
                                          AND pg_get_userbyid(relowner) = current_user) THEN
        RAISE EXCEPTION 'there is no staging table of the log in this session'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call open_staging(), then COPY into it.';
    END IF;
    LOOP
        IF expect_duplicates THEN
            -- Take out what is recorded, put off what is there twice.
            RETURN QUERY
                DELETE FROM pg_temp.staged_events s
                 USING (SELECT s.line, recorded.same
                          FROM pg_temp.staged_events s
                         CROSS JOIN LATERAL (
                               SELECT e.event_type = s.event_type AND e.event_data = s.event_data
                                      AND (s.created_at IS NULL OR e.created_at = s.created_at) AS same
                                 FROM order_events e
                                WHERE e.order_id = s.order_id AND e.source = s.source AND e.source_id = s.source_id
                                LIMIT 1) recorded) known
                 WHERE s.line = known.line
                RETURNING s.line, CASE WHEN known.same THEN 'duplicate' ELSE 'conflict' END;
            SELECT coalesce(array_agg(s.line), '{}') INTO repeats
              FROM (SELECT order_id, source, source_id, min(line) AS first_line
                      FROM pg_temp.staged_events GROUP BY order_id, source, source_id HAVING count(*) > 1) twice
              JOIN pg_temp.staged_events s USING (order_id, source, source_id)
             WHERE s.line > twice.first_line;
        END IF;

        -- Nearly always all lines are new and nobody else appends to their orders: this INSERT is then all there
        -- is to do. If not, a unique index notices, and nothing was inserted.
        BEGIN
            WITH streams AS MATERIALIZED (
                SELECT o.order_id, last.version, last.id
                  FROM (SELECT DISTINCT order_id FROM pg_temp.staged_events) o
                  LEFT JOIN LATERAL (SELECT version, id FROM order_events e
                                      WHERE e.order_id = o.order_id ORDER BY version DESC LIMIT 1) last ON true
            ), numbered AS MATERIALIZED (
                SELECT line, (row_number() OVER (ORDER BY line))::int AS counter,
                       coalesce(o.version, 0) + row_number() OVER stream AS version,
                       -- Not dated by its producer: stamped by this clock, never before the order's last event.
                       CASE WHEN s.created_at IS NULL
                            THEN greatest(now_ms, max(s.created_at) OVER stream,
                                          (SELECT max(created_at) FROM order_events e WHERE e.order_id = s.order_id))
                            ELSE s.created_at END AS happened_at
                  FROM pg_temp.staged_events s JOIN streams o USING (order_id)
                 WHERE s.line NOT IN (SELECT unnest(repeats))
                WINDOW stream AS (PARTITION BY order_id ORDER BY line)
            ), mint AS MATERIALIZED (
                SELECT greatest(mint_ms, clock_ms(),
                                (SELECT uuidv7_ms(id) + 1 FROM streams WHERE id IS NOT NULL
                                  ORDER BY id DESC LIMIT 1)) AS ms
            )
            INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
            SELECT uuidv7_at((SELECT ms FROM mint), n.counter), s.order_id, n.version, s.event_type, s.event_data,
                   n.happened_at, s.source, s.source_id, s.metadata
              FROM numbered n JOIN pg_temp.staged_events s USING (line)
             ORDER BY s.order_id, n.version;  -- in one order in all sessions, against deadlocks
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            IF attempt = 5 THEN
                RAISE EXCEPTION 'other sessions keep appending to the orders of these lines'
                    USING ERRCODE = 'serialization_failure', HINT = 'Try again, with fewer lines in a transaction.';
            END IF;
            attempt := attempt + 1;
            expect_duplicates := true;
        END;
    END LOOP;
    IF repeats <> '{}' THEN
        DELETE FROM pg_temp.staged_events WHERE line NOT IN (SELECT unnest(repeats));
        RETURN QUERY SELECT * FROM append_staged(true);  -- now that their first lines are recorded
    END IF;
END $$;
