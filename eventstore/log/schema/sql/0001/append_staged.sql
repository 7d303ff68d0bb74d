-- Appends what was copied into staged_events, set-based, in the order of its lines. Returns the lines that
-- were not appended: 'duplicate' (this very event is recorded) or 'conflict' (its source and id stand
-- for another event).
CREATE FUNCTION append_staged() RETURNS TABLE (line bigint, outcome text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    floor_ms  bigint := hold_horizon();
    ms        bigint;
    remaining bigint;
BEGIN
    ANALYZE pg_temp.staged_events;
    CREATE TEMPORARY TABLE IF NOT EXISTS pending_events (
        line bigint NOT NULL, order_id uuid NOT NULL, version int NOT NULL, first boolean NOT NULL,
        stamped_at bigint, last_ms bigint
    ) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE IF NOT EXISTS settled_events (line bigint PRIMARY KEY, outcome text)
        ON COMMIT DELETE ROWS;
    TRUNCATE pending_events, settled_events;

    -- The same identity twice in one chunk: the first line counts.
    INSERT INTO settled_events
    SELECT s.line, CASE WHEN (s.event_type, s.event_data::jsonb, s.created_at)
                             IS NOT DISTINCT FROM (f.event_type, f.event_data::jsonb, f.created_at)
                        THEN 'duplicate' ELSE 'conflict' END
      FROM (SELECT *, min(line) OVER (PARTITION BY order_id, source, source_id) AS first_line
              FROM staged_events) s
      JOIN staged_events f ON f.line = s.first_line
     WHERE s.line > s.first_line;

    LOOP
        INSERT INTO settled_events
        SELECT s.line, CASE WHEN e.event_type = s.event_type AND e.event_data = s.event_data::jsonb
                                 AND (s.created_at IS NULL OR e.created_at = s.created_at)
                            THEN 'duplicate' ELSE 'conflict' END
          FROM staged_events s
          JOIN order_events e ON e.order_id = s.order_id AND e.source = s.source AND e.source_id = s.source_id
         WHERE NOT EXISTS (SELECT FROM settled_events d WHERE d.line = s.line);

        TRUNCATE pending_events;
        INSERT INTO pending_events
        SELECT s.line, s.order_id, coalesce(l.version, 0) + row_number() OVER stream, row_number() OVER stream = 1,
               CASE WHEN s.created_at IS NULL THEN greatest(clock_ms(),
                    (SELECT max(created_at) FROM order_events x WHERE x.order_id = s.order_id),
                    max(s.created_at) OVER stream) END,
               uuidv7_ms(l.id)
          FROM staged_events s
          LEFT JOIN LATERAL (SELECT version, id FROM order_events e
                              WHERE e.order_id = s.order_id ORDER BY version DESC LIMIT 1) l ON true
         WHERE NOT EXISTS (SELECT FROM settled_events d WHERE d.line = s.line)
        WINDOW stream AS (PARTITION BY s.order_id ORDER BY s.line);
        GET DIAGNOSTICS remaining = ROW_COUNT;
        EXIT WHEN remaining = 0;

        SELECT greatest(floor_ms, clock_ms(), h.published_ms + 1, (SELECT max(last_ms) + 1 FROM pending_events))
          INTO ms FROM feed_horizon h;
        -- The first new version of each order is the claim on it (see record_events). An order whose claim
        -- fails got an event from somebody else meanwhile: the next turn of the loop numbers it again.
        WITH claimed AS (
            INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
            SELECT uuidv7_at(ms, (row_number() OVER (ORDER BY s.line))::int), s.order_id, p.version, s.event_type,
                   s.event_data::jsonb, coalesce(s.created_at, p.stamped_at), s.source, s.source_id, s.metadata::jsonb
              FROM pending_events p JOIN staged_events s USING (line)
             WHERE p.first ORDER BY s.order_id
            ON CONFLICT DO NOTHING RETURNING order_id)
        INSERT INTO settled_events
        SELECT p.line, NULL FROM pending_events p JOIN claimed USING (order_id);

        INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
        SELECT uuidv7_at(ms, (remaining + row_number() OVER (ORDER BY s.line))::int), s.order_id, p.version, s.event_type,
               s.event_data::jsonb, coalesce(s.created_at, p.stamped_at), s.source, s.source_id, s.metadata::jsonb
          FROM pending_events p JOIN staged_events s USING (line) JOIN settled_events d USING (line)
         WHERE NOT p.first;
    END LOOP;
    RETURN QUERY SELECT d.line, d.outcome FROM settled_events d WHERE d.outcome IS NOT NULL ORDER BY d.line;
END $$;
