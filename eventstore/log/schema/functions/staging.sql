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

-- The lines of staged_events that have the hash of another identity, of a recorded event of the order or of an
-- earlier line: neither duplicates nor to be appended.
CREATE OR REPLACE FUNCTION staged_collisions() RETURNS bigint[] LANGUAGE plpgsql VOLATILE
    SET search_path = public, pg_temp AS $$
BEGIN
    RETURN (WITH staged AS MATERIALIZED (
        SELECT line, order_id, source, source_id, event_identity(order_id, source, source_id) AS identity
          FROM pg_temp.staged_events
    ), holding AS (
        SELECT s.line, s.source, s.source_id, coalesce(e.source, first_value(s.source) OVER same) AS holder,
               coalesce(e.source_id, first_value(s.source_id) OVER same) AS holder_id
          FROM staged s LEFT JOIN LATERAL (
               SELECT e.source, e.source_id FROM order_events e
                WHERE e.order_id = s.order_id AND e.source_id IS NOT NULL
                  AND event_identity(e.order_id, e.source, e.source_id) = s.identity
                LIMIT 1) e ON true
        WINDOW same AS (PARTITION BY s.order_id, s.identity ORDER BY s.line)
    )
    SELECT coalesce(array_agg(line), '{}') FROM holding WHERE (holder, holder_id) <> (source, source_id));
END $$;

-- Appends what was copied into staged_events, set-based, in the order of its lines. Returns the lines that
-- were not appended: 'duplicate' (this very event is recorded), 'conflict' (its source and id stand for another
-- event of the order) or 'collision' (they have the same hash as those of another event of the order). It looks for
-- duplicates when a unique index has found one; a caller that expects some, as in the chunk before, says so: that is
-- faster and leaves no dead rows in the log.
CREATE OR REPLACE FUNCTION append_staged(expect_duplicates boolean DEFAULT false) RETURNS TABLE (line bigint, outcome text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
    -- One plan for all chunks, which probes indexes however much the log has grown since it was made, and puts lines
    -- together by hashing, however few it takes them for.
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_nestloop = off SET jit = off
    SET work_mem = '32MB' AS $$
#variable_conflict use_column
DECLARE
    mint_ms    bigint := hold_horizon();
    now_ms     bigint := least(clock_ms(), mint_ms);  -- when an event happened that does not say it
    first_line bigint;
    known      bigint[];  -- lines with the identity of a recorded event, or of an earlier line
    collisions bigint[] := '{}';
    attempt    int := 1;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('pg_temp.staged_events') AND relkind = 'r'
                                          AND pg_get_userbyid(relowner) = current_user) THEN
        RAISE EXCEPTION 'there is no staging table of the log in this session'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call open_staging(), then COPY into it.';
    END IF;
    first_line := (SELECT min(line) FROM pg_temp.staged_events);
    LOOP
        -- Nearly always all lines that are not known are new and nobody else appends to their orders: this statement
        -- is then all there is to do. If not, a unique index notices, and nothing was inserted.
        BEGIN
            mint_ms := greatest(mint_ms, clock_ms());
            WITH streams AS MATERIALIZED (
                SELECT o.order_id, coalesce(last.version, 0) AS version,
                       -- Above the last id of the order itself: one whose last id lies far ahead takes no other with it.
                       greatest(mint_ms, uuidv7_ms(last.id) + 1) AS ms,
                       CASE WHEN o.undated THEN last_business_time(o.order_id) END AS last_at
                  FROM (SELECT order_id, bool_or(created_at IS NULL) AS undated
                          FROM pg_temp.staged_events GROUP BY order_id) o
                  LEFT JOIN LATERAL (SELECT version, id FROM order_events e
                                      WHERE e.order_id = o.order_id ORDER BY version DESC LIMIT 1) last ON true
            ), recorded AS MATERIALIZED (  -- of the short ones among them
                SELECT o.order_id, e.source, e.source_id
                  FROM streams o CROSS JOIN LATERAL (
                       SELECT source, source_id FROM order_events e WHERE e.order_id = o.order_id LIMIT 32) e
                 WHERE expect_duplicates AND o.version BETWEEN 1 AND 32
            ), found AS MATERIALIZED (
                SELECT s.line FROM recorded JOIN pg_temp.staged_events s USING (order_id, source, source_id)
                 UNION ALL
                SELECT s.line
                  FROM streams o JOIN pg_temp.staged_events s USING (order_id) CROSS JOIN LATERAL (
                       SELECT FROM order_events e
                        WHERE e.order_id = s.order_id AND e.source = s.source AND e.source_id = s.source_id
                          AND event_identity(e.order_id, e.source, e.source_id)
                              = event_identity(s.order_id, s.source, s.source_id)
                        LIMIT 1) recorded
                 WHERE expect_duplicates AND o.version > 32
                 UNION ALL
                SELECT s.line
                  FROM (SELECT order_id, source, source_id, min(line) AS first_line
                          FROM pg_temp.staged_events WHERE expect_duplicates
                         GROUP BY order_id, source, source_id HAVING count(*) > 1) twice
                  JOIN pg_temp.staged_events s USING (order_id, source, source_id)
                 WHERE s.line > twice.first_line
            ), appended AS (
                INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
                -- Ids rise with the lines, whose numbers may have gaps larger than the counter of an id.
                SELECT uuidv7_at(o.ms + (nth >> 26), (nth & 67108863)::int), order_id,
                       o.version + row_number() OVER stream, event_type, event_data,
                       -- Not dated by its producer: stamped by this clock, never before the order's last event.
                       CASE WHEN s.created_at IS NULL THEN greatest(now_ms, max(s.created_at) OVER stream, o.last_at)
                            ELSE s.created_at END,
                       source, source_id, metadata
                  FROM (SELECT *, line - first_line AS nth FROM pg_temp.staged_events
                         WHERE line NOT IN (SELECT line FROM found UNION ALL SELECT unnest(collisions))) s
                  JOIN streams o USING (order_id)
                WINDOW stream AS (PARTITION BY order_bucket(order_id), order_id ORDER BY line)
                -- In one order in all sessions, against deadlocks; and one bucket after the other, which the caches like.
                 ORDER BY order_bucket(order_id), order_id, line
            )
            SELECT array_agg(line) INTO known FROM found;
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            IF attempt = 5 THEN
                RAISE EXCEPTION 'other sessions keep appending to the orders of these lines'
                    USING ERRCODE = 'serialization_failure', HINT = 'Try again, with fewer lines in a transaction.';
            END IF;
            attempt := attempt + 1;
            expect_duplicates := true;
            collisions := staged_collisions();
        END;
    END LOOP;
    IF known IS NOT NULL OR collisions <> '{}' THEN
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
