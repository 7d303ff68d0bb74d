-- Appends events to one order: all of them, or none. An event whose (source, source_id) the order already has is
-- not appended again: what was recorded the first time is returned in its place.
-- Two functions with one body: append_events() returns the position of each event in the order given,
-- record_events() all that is recorded of it. One calling the other would make an append a fifth slower.
DO $generate$
DECLARE
    body CONSTANT text := $body$
#variable_conflict use_column
DECLARE
    stream       CONSTANT uuid := order_id;
    mint_ms      bigint;
    event        jsonb;
    happened_at  bigint;
    last_at      bigint;
    last_version int;
BEGIN
    IF stream IS NULL THEN
        RAISE EXCEPTION 'order_id is null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF jsonb_typeof(events) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'events must be a JSON array of {"type", "data", …}, found %',
            coalesce(jsonb_typeof(events), 'null') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    mint_ms := hold_horizon();
    FOR i IN 0 .. jsonb_array_length(events) - 1 LOOP
        event := check_event(events -> i);
        happened_at := business_ms(event -> 'created_at');
        LOOP
            last_version := NULL;  -- any
            IF happened_at IS NULL THEN
                -- Stamped by this clock and never before the order's last event: if another one comes in between,
                -- nothing is inserted below.
                SELECT coalesce(max(e.version), 0), max(e.created_at) INTO last_version, last_at
                  FROM order_events e WHERE e.order_id = stream;
            END IF;
            -- Nearly always this one statement is all. The unique version is the claim on the order: while another
            -- append to it is open, this one waits here, and inserts nothing if that one commits.
            RETURN QUERY INSERT INTO order_events AS e
                       (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
                SELECT CASE WHEN last.id IS NULL THEN uuidv7_at(mint_ms, 0) ELSE uuidv7_after(last.id, mint_ms) END,
                       stream, coalesce(last.version, 0) + 1, event ->> 'type', event -> 'data',
                       coalesce(happened_at, greatest(clock_ms(), last_at)),
                       event ->> 'source', event ->> 'source_id', coalesce(nullif(event -> 'metadata', 'null'), '{}')
                  FROM (SELECT) AS one LEFT JOIN LATERAL (
                       SELECT e.id, e.version FROM order_events e
                        WHERE e.order_id = stream ORDER BY e.version DESC LIMIT 1) AS last ON true
                 WHERE (expected_version IS NULL OR expected_version = coalesce(last.version, 0))
                   AND (last_version IS NULL OR last_version = coalesce(last.version, 0))
                ON CONFLICT DO NOTHING RETURNING COLUMNS;
            IF FOUND THEN
                expected_version := NULL;  -- compared; the order is ours now
                EXIT;
            END IF;
            -- Recorded already, or at another version, or somebody else was faster.
            RETURN QUERY SELECT COLUMNS FROM order_events e WHERE e.order_id = stream
                AND e.source = event ->> 'source' AND e.source_id = event ->> 'source_id';
            EXIT WHEN FOUND;
            last_version := coalesce((SELECT max(e.version) FROM order_events e WHERE e.order_id = stream), 0);
            IF expected_version <> last_version THEN
                RAISE EXCEPTION 'order % is at version %, expected %', stream, last_version, expected_version
                    USING ERRCODE = 'ES001', DETAIL = last_version::text,
                          HINT = 'Read the order again, decide again, and append with the version you read.';
            END IF;
            -- From now on one after the other, or all that wait would try at each commit.
            PERFORM pg_advisory_xact_lock(17749, uuid_hash(stream));
        END LOOP;
    END LOOP;
END $body$;
BEGIN
    -- Generic plans: planning for each value costs more than all the rest.
    EXECUTE format($create$
        CREATE FUNCTION append_events(order_id uuid, events jsonb, expected_version int DEFAULT NULL)
            RETURNS TABLE (id uuid, version int) LANGUAGE plpgsql VOLATILE SECURITY DEFINER
            SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS %L
        $create$, replace(body, 'COLUMNS', 'e.id, e.version'));
    EXECUTE format($create$
        CREATE FUNCTION record_events(order_id uuid, events jsonb, expected_version int DEFAULT NULL)
            RETURNS SETOF order_events LANGUAGE plpgsql VOLATILE SECURITY DEFINER
            SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS %L
        $create$, replace(body, 'COLUMNS', 'e.*'));
END $generate$;
