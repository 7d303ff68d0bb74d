-- Says what is wrong with an event of append_events().
CREATE FUNCTION refuse_event(event jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF jsonb_typeof(event) <> 'object' THEN
        RAISE EXCEPTION 'an event must be a JSON object {"type", "data", …}, found %', jsonb_typeof(event)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF jsonb_typeof(event -> 'type') IS DISTINCT FROM 'string' THEN
        RAISE EXCEPTION 'an event needs a "type", a string such as "OrderPaid"'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF NOT event ? 'data' THEN
        RAISE EXCEPTION 'event % needs "data", a JSON object', event ->> 'type'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF event - '{type,data,created_at,source,source_id,metadata}'::text[] <> '{}' THEN
        RAISE EXCEPTION 'event % has unknown keys: %', event ->> 'type',
            (SELECT string_agg(key, ', ' ORDER BY key)
               FROM jsonb_object_keys(event - '{type,data,created_at,source,source_id,metadata}'::text[]) AS key)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Known keys: type, data, created_at, source, source_id, metadata.';
    END IF;
    RAISE EXCEPTION 'event %: source and source_id must be strings', event ->> 'type'
        USING ERRCODE = 'invalid_parameter_value';
END $$;

-- An event of append_events() as it came, if it is {"type", "data", …}; what the values may be is the matter of
-- event_is_valid(). In SQL, so that it becomes a part of the expression that calls it.
CREATE FUNCTION check_event(event jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
    RETURN CASE
        WHEN event @@ '$.type.type() == "string" && exists($.data)
                       && (!exists($.source) || $.source.type() == "string" || $.source == null)
                       && (!exists($.source_id) || $.source_id.type() == "string" || $.source_id == null)'
             AND event - '{type,data,created_at,source,source_id,metadata}'::text[] = '{}' THEN event
        ELSE refuse_event(event)
    END;
