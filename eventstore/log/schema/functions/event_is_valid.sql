-- The CHECK of order_events, so that it holds for every way into the log: refuses an event and says why.
-- Stored rows were asked by it, and a restore asks them again: it never becomes stricter (limits.sql does), and no
-- setting of a session changes its meaning. A function, because PostgreSQL parses the text of a CHECK again for each INSERT statement.
CREATE OR REPLACE FUNCTION event_is_valid(event_type text, event_data jsonb, created_at bigint,
                               source text, source_id text, metadata jsonb)
    RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    problem text;
BEGIN
    -- Nearly every event passes this one cheap expression.
    IF length(event_type) BETWEEN 1 AND 200
       AND jsonb_typeof(event_data) = 'object'
       AND public.payload_problem(event_type, event_data, metadata) IS NULL
       AND created_at BETWEEN -62135596800000 AND 253402300799999
       AND (source IS NULL AND source_id IS NULL OR octet_length(source) + octet_length(source_id) <= 2000)
       AND jsonb_typeof(metadata) = 'object' THEN
        RETURN true;
    END IF;
    problem := CASE
        WHEN event_type = '' OR length(event_type) > 200
            THEN 'its type must have 1 to 200 characters'
        WHEN jsonb_typeof(event_data) <> 'object'
            THEN 'its data must be a JSON object, not ' || jsonb_typeof(event_data)
        WHEN jsonb_typeof(metadata) <> 'object'
            THEN 'its metadata must be a JSON object, not ' || jsonb_typeof(metadata)
        WHEN created_at NOT BETWEEN -62135596800000 AND 253402300799999
            THEN format('created_at %s is outside the years 1 to 9999; it counts milliseconds since 1970', created_at)
        WHEN (source IS NULL) <> (source_id IS NULL)
            THEN 'source and source_id come together or not at all'
        WHEN octet_length(source) + octet_length(source_id) > 2000
            THEN 'source and source_id are longer than 2000 bytes together'
        ELSE public.payload_problem(event_type, event_data, metadata)
    END;
    IF problem IS NULL THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION 'event % cannot be recorded: %',
        regexp_replace(left(event_type, 200), '[[:cntrl:]]', '?', 'g'), problem
        USING ERRCODE = 'check_violation', TABLE = 'order_events', CONSTRAINT = 'event_is_valid',
              HINT = 'Correct the event and append it again.';
END $$;
