-- Refuses an event of append_events() that has no meaning, and says why.
CREATE FUNCTION check_event(event jsonb) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    unknown text;
BEGIN
    IF jsonb_typeof(event) <> 'object' THEN
        RAISE EXCEPTION 'an event must be a JSON object {"type", "data", …}, found %', jsonb_typeof(event)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF jsonb_typeof(event -> 'type') IS DISTINCT FROM 'string' THEN
        RAISE EXCEPTION 'an event needs a "type", a string such as "OrderPaid"'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF jsonb_typeof(event -> 'data') IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'event % needs "data", a JSON object', event ->> 'type'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF event - '{type,data,created_at,source,source_id,metadata}'::text[] <> '{}' THEN
        SELECT string_agg(key, ', ' ORDER BY key) INTO unknown
          FROM jsonb_object_keys(event - '{type,data,created_at,source,source_id,metadata}'::text[]) AS key;
        RAISE EXCEPTION 'event % has unknown keys: %', event ->> 'type', unknown
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Known keys: type, data, created_at, source, source_id, metadata.';
    END IF;
    IF jsonb_typeof(coalesce(nullif(event -> 'source', 'null'), '""')) <> 'string'
       OR jsonb_typeof(coalesce(nullif(event -> 'source_id', 'null'), '""')) <> 'string' THEN
        RAISE EXCEPTION 'event %: source and source_id must be strings', event ->> 'type'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;
