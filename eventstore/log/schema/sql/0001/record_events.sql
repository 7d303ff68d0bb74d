-- Appends events to one order and returns what stands recorded for them, in the order given.
-- All of them or none. An event whose (source, source_id) the order already has is not appended again:
-- what was recorded the first time is returned.
CREATE FUNCTION record_events(order_id uuid, events jsonb, expected_version int DEFAULT NULL)
    RETURNS SETOF order_events LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stream      CONSTANT uuid := record_events.order_id;
    floor_ms    bigint;
    published   bigint;
    last_id     uuid;
    found_version int;
    ms          bigint;
    counter     int;
    latest_at   bigint;
    event       jsonb;
    recorded    order_events;
    outcome     order_events[];
    appended    int;
BEGIN
    IF stream IS NULL THEN
        RAISE EXCEPTION 'order_id is null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF jsonb_typeof(events) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'events must be a JSON array of {"type", "data", …}, found %',
            coalesce(jsonb_typeof(events), 'null') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR event IN SELECT value FROM jsonb_array_elements(events) LOOP
        PERFORM check_event(event);
    END LOOP;

    floor_ms := hold_horizon();
    <<attempt>>
    LOOP
        -- Step 2, in a snapshot taken after the lock was: whoever published before the lock is seen here.
        SELECT h.published_ms, coalesce(e.version, 0), e.id INTO published, found_version, last_id
          FROM feed_horizon h
          LEFT JOIN LATERAL (SELECT version, id FROM order_events
                              WHERE order_id = stream ORDER BY version DESC LIMIT 1) e ON true;
        ms := greatest(floor_ms, clock_ms(), published + 1);
        counter := 0;
        IF uuidv7_ms(last_id) >= ms THEN
            -- The order's last id lies in this millisecond or, after a clock went back, above it.
            ms := uuidv7_ms(last_id);
            counter := uuidv7_counter(last_id) + 1;
        END IF;
        latest_at := NULL;
        outcome := '{}';
        appended := 0;
        FOR event IN SELECT value FROM jsonb_array_elements(events) LOOP
            IF event ->> 'source_id' IS NOT NULL THEN
                SELECT * INTO recorded FROM order_events
                 WHERE order_id = stream AND source = event ->> 'source' AND source_id = event ->> 'source_id';
                IF FOUND THEN
                    outcome := outcome || recorded;
                    CONTINUE;
                END IF;
            END IF;
            IF appended = 0 AND expected_version <> found_version THEN
                RAISE EXCEPTION 'order % is at version %, expected %', stream, found_version, expected_version
                    USING ERRCODE = 'ES001', DETAIL = found_version::text,
                          HINT = 'Read the order again, decide again, and append with the version you read.';
            END IF;
            IF coalesce(event -> 'created_at', 'null') <> 'null' THEN
                recorded.created_at := business_ms(event -> 'created_at');
            ELSE
                -- Stamped by this clock and never before the order's last event.
                IF latest_at IS NULL THEN
                    SELECT max(created_at) INTO latest_at FROM order_events WHERE order_id = stream;
                END IF;
                recorded.created_at := greatest(clock_ms(), latest_at);
            END IF;
            latest_at := greatest(latest_at, recorded.created_at);
            IF counter >= 1 << 26 THEN
                ms := ms + 1;
                counter := 0;
            END IF;
            -- The unique version is the claim on the order: a concurrent append to it makes this one wait
            -- here, then do nothing if the other committed.
            INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at,
                                      source, source_id, metadata)
            VALUES (uuidv7_at(ms, counter), stream, found_version + appended + 1, event ->> 'type', event -> 'data',
                    recorded.created_at, event ->> 'source', event ->> 'source_id',
                    coalesce(nullif(event -> 'metadata', 'null'), '{}'))
            ON CONFLICT DO NOTHING
            RETURNING * INTO recorded;
            IF NOT FOUND THEN
                IF appended > 0 THEN
                    RAISE EXCEPTION 'order % changed under its own append', stream USING ERRCODE = 'internal_error';
                END IF;
                CONTINUE attempt;  -- somebody else committed: read the order again
            END IF;
            outcome := outcome || recorded;
            appended := appended + 1;
            counter := counter + 1;
        END LOOP;
        RETURN QUERY SELECT * FROM unnest(outcome);
        RETURN;
    END LOOP;
END $$;
