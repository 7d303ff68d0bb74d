-- A temporary table for COPY, emptied at every commit. It belongs to the owner of the log, so that
-- append_staged() may trust it and a writer needs no right on the log itself.
CREATE OR REPLACE FUNCTION open_staging() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    IF to_regclass('pg_temp.staged_events') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TEMPORARY TABLE staged_events (
        line        bigint NOT NULL,  -- any numbers, each once; events are appended in their order
        order_id    uuid NOT NULL,
        event_type  text NOT NULL,
        event_data  jsonb NOT NULL,
        created_at  bigint,
        source      text NOT NULL,
        source_id   text NOT NULL,
        metadata    jsonb NOT NULL
    ) ON COMMIT DELETE ROWS;
    GRANT INSERT ON pg_temp.staged_events TO PUBLIC;  -- only this session can reach it
END $$;

-- The lines of staged_events whose identity has the hash of another one, of a recorded event or of an earlier line, in
-- whichever order of their bucket. They are no duplicates, and the unique index refuses them.
CREATE OR REPLACE FUNCTION staged_collisions() RETURNS SETOF bigint LANGUAGE plpgsql VOLATILE
    SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY
        SELECT line
          FROM (SELECT s.line, s.order_id, s.source, s.source_id,
                       coalesce(recorded.order_id, first_value(s.order_id) OVER same) AS holder_order,
                       coalesce(recorded.source, first_value(s.source) OVER same) AS holder,
                       coalesce(recorded.source_id, first_value(s.source_id) OVER same) AS holder_id
                  FROM pg_temp.staged_events s LEFT JOIN order_events recorded
                    ON recorded.source_id IS NOT NULL
                       AND order_bucket(recorded.order_id) = order_bucket(s.order_id)
                       AND event_identity(recorded.order_id, recorded.source, recorded.source_id)
                           = event_identity(s.order_id, s.source, s.source_id)
                WINDOW same AS (PARTITION BY order_bucket(s.order_id),
                                             event_identity(s.order_id, s.source, s.source_id)
                                ORDER BY s.line)) held
         WHERE (order_id, source, source_id) <> (holder_order, holder, holder_id);
END $$;

-- Appends what was copied into staged_events, set-based, in the order of its lines. Returns the lines that
-- were not appended: 'duplicate' (this very event is recorded), 'conflict' (its source and id stand for
-- another event of the order) or 'collision' (they have the hash of another event's). It looks for duplicates when a
-- unique index has found one; a caller that expects some, as in the chunk before, says so: that is faster and leaves
-- no dead rows in the log.
CREATE OR REPLACE FUNCTION append_staged(expect_duplicates boolean DEFAULT false) RETURNS TABLE (line bigint, outcome text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
    -- One plan for all chunks, which probes indexes however much the log has grown since it was made.
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off SET work_mem = '32MB' AS $$
#variable_conflict use_column
DECLARE
    mint_ms    bigint := hold_horizon();
    now_ms     bigint := least(clock_ms(), mint_ms);  -- when an event happened that does not say it
    first_line bigint;
    known      bigint[] := '{}';  -- lines with the identity of a recorded event, or of an earlier line
    collisions bigint[] := '{}';  -- lines with the hash of another identity
    attempt    int := 1;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('pg_temp.staged_events') AND relkind = 'r'
                                          AND pg_get_userbyid(relowner) = current_user) THEN
        RAISE EXCEPTION 'there is no staging table of the log in this session'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call open_staging(), then COPY into it.';
    END IF;
    first_line := (SELECT min(line) FROM pg_temp.staged_events);
    LOOP
        IF expect_duplicates THEN
            SELECT coalesce(array_agg(line), '{}') INTO known
              FROM (SELECT s.line
                      FROM pg_temp.staged_events s
                     CROSS JOIN LATERAL (
                           SELECT FROM order_events e
                            WHERE e.order_id = s.order_id AND e.source = s.source AND e.source_id = s.source_id
                              AND event_identity(e.order_id, e.source, e.source_id)
                                  = event_identity(s.order_id, s.source, s.source_id)
                            LIMIT 1) recorded
                     UNION ALL
                    SELECT s.line
                      FROM (SELECT order_id, source, source_id, min(line) AS first_line
                              FROM pg_temp.staged_events GROUP BY order_id, source, source_id HAVING count(*) > 1) twice
                      JOIN pg_temp.staged_events s USING (order_id, source, source_id)
                     WHERE s.line > twice.first_line) found;
        END IF;

        -- Nearly always all other lines are new and nobody else appends to their orders: this INSERT is then all
        -- there is to do. If not, a unique index notices, and nothing was inserted.
        BEGIN
            mint_ms := greatest(mint_ms, clock_ms());
            WITH streams AS MATERIALIZED (
                -- Above the last id of the order itself: one whose last id lies far ahead takes no other with it.
                SELECT o.order_id, last.version, greatest(mint_ms, uuidv7_ms(last.id) + 1) AS ms,
                       CASE WHEN o.undated THEN last_business_time(o.order_id) END AS last_at
                  FROM (SELECT order_id, bool_or(created_at IS NULL) AS undated
                          FROM pg_temp.staged_events GROUP BY order_id) o
                  LEFT JOIN LATERAL (SELECT version, id FROM order_events e
                                      WHERE e.order_id = o.order_id ORDER BY version DESC LIMIT 1) last ON true
            )
            INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
            -- Ids rise with the lines, whose numbers may have gaps larger than the counter of an id.
            SELECT uuidv7_at(o.ms + (nth >> 26), (nth & 67108863)::int), order_id,
                   coalesce(o.version, 0) + row_number() OVER stream, event_type, event_data,
                   -- Not dated by its producer: stamped by this clock, never before the order's last event.
                   CASE WHEN s.created_at IS NULL
                        THEN greatest(now_ms, max(s.created_at) OVER stream, o.last_at)
                        ELSE s.created_at END,
                   source, source_id, metadata
              FROM (SELECT *, line - first_line AS nth FROM pg_temp.staged_events
                     WHERE line NOT IN (SELECT unnest(known || collisions))) s
              JOIN streams o USING (order_id)
            WINDOW stream AS (PARTITION BY order_bucket(order_id), order_id ORDER BY line)
            -- In one order in all sessions, against deadlocks; and one bucket after the other, which the caches like.
             ORDER BY order_bucket(order_id), order_id, line;
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            IF attempt = 5 THEN
                RAISE EXCEPTION 'other sessions keep appending to the orders of these lines'
                    USING ERRCODE = 'serialization_failure', HINT = 'Try again, with fewer lines in a transaction.';
            END IF;
            attempt := attempt + 1;
            IF expect_duplicates THEN  -- they were left out
                collisions := ARRAY(SELECT staged_collisions());
            END IF;
            expect_duplicates := true;
        END;
    END LOOP;
    IF known || collisions <> '{}' THEN
        RETURN QUERY
            SELECT s.line, CASE WHEN recorded.same THEN 'duplicate' ELSE 'conflict' END
              FROM pg_temp.staged_events s
             CROSS JOIN LATERAL (
                   SELECT e.event_type = s.event_type AND e.event_data = s.event_data
                          AND (s.created_at IS NULL OR e.created_at = s.created_at) AS same
                     FROM order_events e
                    WHERE e.order_id = s.order_id AND e.source = s.source AND e.source_id = s.source_id
                      AND event_identity(e.order_id, e.source, e.source_id)
                          = event_identity(s.order_id, s.source, s.source_id)
                    LIMIT 1) recorded
             WHERE s.line IN (SELECT unnest(known))
             UNION ALL
            SELECT unnest(collisions), 'collision';
    END IF;
END $$;
