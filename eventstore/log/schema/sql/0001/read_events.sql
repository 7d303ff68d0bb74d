-- The feed: events after a watermark (null: from the beginning), each exactly once, an order's versions rising.
CREATE FUNCTION read_events(after uuid, max_events int)
    RETURNS SETOF order_events LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    horizon uuid;
BEGIN
    IF max_events IS NULL OR max_events < 1 THEN
        RAISE EXCEPTION 'max_events must be 1 or more, found %', coalesce(max_events::text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    horizon := uuidv7_ceiling(horizon_ms());
    RETURN QUERY
        SELECT * FROM order_events e
         WHERE e.id > coalesce(after, '00000000-0000-0000-0000-000000000000') AND e.id <= horizon
         ORDER BY e.id
         LIMIT max_events;
END $$;
