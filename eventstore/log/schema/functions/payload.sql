-- What a domain demands of the payload of an event: null, or what is wrong with it, in words that follow "event X
-- cannot be recorded: ". The domain brings its own functions of these names (Domain.functions); without one any
-- JSON object will do. Best in SQL and immutable, so that they become a part of the expression that calls them.
DO $$
BEGIN
    -- Asked of every row, by the CHECK of the log, and asked again by a restore: it never becomes stricter.
    IF to_regprocedure('public.payload_problem(text, jsonb, jsonb)') IS NULL THEN
        CREATE FUNCTION payload_problem(event_type text, event_data jsonb, metadata jsonb) RETURNS text
            LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN NULL;
    END IF;
    -- Asked of what is appended, never of what is stored.
    IF to_regprocedure('public.new_payload_problem(text, jsonb, jsonb)') IS NULL THEN
        CREATE FUNCTION new_payload_problem(event_type text, event_data jsonb, metadata jsonb) RETURNS text
            LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN NULL;
    END IF;
END $$;
