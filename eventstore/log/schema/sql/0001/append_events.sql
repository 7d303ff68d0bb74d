-- The append for every language: record_events() with just the position of each event.
CREATE FUNCTION append_events(order_id uuid, events jsonb, expected_version int DEFAULT NULL)
    RETURNS TABLE (id uuid, version int) LANGUAGE sql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
    SELECT r.id, r.version
      FROM record_events(append_events.order_id, append_events.events, append_events.expected_version)
           WITH ORDINALITY AS r(id, order_id, version, event_type, event_data, created_at,
                                source, source_id, metadata, position)
     ORDER BY r.position;
$$;
