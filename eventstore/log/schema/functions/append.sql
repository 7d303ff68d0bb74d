-- Says what is wrong with an event of append_events().
CREATE OR REPLACE FUNCTION refuse_event(event jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    named CONSTANT text := regexp_replace(left(event ->> 'type', 200), '[[:cntrl:]]', '?', 'g');
BEGIN
    IF jsonb_typeof(event) <> 'object' THEN
        RAISE EXCEPTION 'an event must be a JSON object {"type", "data", …}, found %', jsonb_typeof(event)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF jsonb_typeof(event -> 'type') IS DISTINCT FROM 'string' THEN
        RAISE EXCEPTION 'an event needs a "type", a string such as "OrderPaid"'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF NOT event ? 'data' THEN
        RAISE EXCEPTION 'event % needs "data", a JSON object', named
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF event - '{type,data,created_at,source,source_id,metadata}'::text[] <> '{}' THEN
        RAISE EXCEPTION 'event % has unknown keys: %', named,
            (SELECT regexp_replace(left(string_agg(key, ', ' ORDER BY key), 200), '[[:cntrl:]]', '?', 'g')
               FROM jsonb_object_keys(event - '{type,data,created_at,source,source_id,metadata}'::text[]) AS key)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Known keys: type, data, created_at, source, source_id, metadata.';
    END IF;
    RAISE EXCEPTION 'event %: source and source_id must be strings', named
        USING ERRCODE = 'invalid_parameter_value';
END $$;

-- An event of append_events() as it came, if it is {"type", "data", …}; what the values may be is the matter of
-- event_is_valid(). In SQL, so that it becomes a part of the expression that calls it.
CREATE OR REPLACE FUNCTION check_event(event jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
    RETURN CASE
        WHEN event @@ '$.type.type() == "string" && exists($.data)
                       && (!exists($.source) || $.source.type() == "string" || $.source == null)
                       && (!exists($.source_id) || $.source_id.type() == "string" || $.source_id == null)'
             AND event - '{type,data,created_at,source,source_id,metadata}'::text[] = '{}' THEN event
        ELSE refuse_event(event)
    END;

-- Step 1 of an append: announce, before any id is minted, the lowest millisecond that it can get: the floor.
-- The announcement is a shared advisory lock on (17747 << 48 | floor), held to the end of the transaction;
-- 17747 is 'ES'. Returns the millisecond to mint ids at, or above: it is higher than what was published before
-- the lock was there, and whoever publishes later sees the lock.
CREATE OR REPLACE FUNCTION hold_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now_ms   CONSTANT bigint := clock_ms();
    -- A later append in the same transaction keeps the first, lower floor, or a long transaction would fill the
    -- lock table. A setting that somebody forged can only lower the floor, which is safe.
    floor_ms bigint := greatest(1, least(
        greatest(now_ms, pg_sequence_last_value('feed_horizon') + 1),
        nullif(current_setting('eventstore.floor_ms', true), '')::bigint));
    settings text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'events can only be appended at isolation level READ COMMITTED, not %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'Concurrent writers of one order are kept apart by its version: '
                         'pass expected_version instead of raising the isolation level.';
    END IF;
    IF pg_sequence_last_value('feed_horizon') > 281474976000000 THEN
        RAISE EXCEPTION 'the horizon stands at the end of time: there are no ids above it'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'An earlier release let an inserted id move it. `eventstore status` says more.';
    END IF;
    IF current_setting('eventstore.home', true) IS DISTINCT FROM pg_backend_pid()::text THEN
        PERFORM check_home();
    END IF;
    -- Only a stranger could hold a key alone. A lower floor is as good; nobody waits.
    WHILE NOT pg_try_advisory_xact_lock_shared((17747::bigint << 48) | floor_ms) LOOP
        floor_ms := floor_ms - 1;
    END LOOP;
    settings := set_config('eventstore.floor_ms', floor_ms::text, true)
             || set_config('eventstore.floor_id', uuidv7_lowest(floor_ms)::text, true)
             || set_config('eventstore.restoring', '', true)
             -- An append left open holds back every reader: end it, unless its owner chose another limit.
             || CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
                     THEN set_config('idle_in_transaction_session_timeout', '60s', true) ELSE '' END
             -- What readers are shown survives a crash.
             || CASE WHEN current_setting('synchronous_commit') = 'off'
                     THEN set_config('synchronous_commit', 'local', true) ELSE '' END;
    RETURN greatest(now_ms, floor_ms, pg_sequence_last_value('feed_horizon') + 1);
END $$;

-- Two events whose identities differ and have the same hash: one in 2^88, unless somebody made them so. They need not be
-- of one order: an index holds all orders of a bucket.
CREATE OR REPLACE FUNCTION refuse_collision(order_id uuid, source text, source_id text) RETURNS void
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    other record;
BEGIN
    SELECT e.order_id, e.version INTO other FROM order_events e
     WHERE order_bucket(e.order_id) = order_bucket($1) AND e.source_id IS NOT NULL
       AND event_identity(e.order_id, e.source, e.source_id) = event_identity($1, $2, $3)
       AND (e.order_id, e.source, e.source_id) <> ($1, $2, $3);
    IF FOUND THEN
        RAISE EXCEPTION 'source % and source_id % have the same hash as those of version % of order %',
            regexp_replace(left(source, 200), '[[:cntrl:]]', '?', 'g'),
            regexp_replace(left(source_id, 200), '[[:cntrl:]]', '?', 'g'), other.version, other.order_id
            USING ERRCODE = 'unique_violation', TABLE = 'order_events', CONSTRAINT = 'event_identity',
                  HINT = 'They are another event''s only to the index. Give the event another source_id.';
    END IF;
END $$;

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
    failed_at    int;  -- the version at which nothing could be inserted
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
                -- Stamped by this clock, not after the id, and never before the order's last event: if another one
                -- comes in between, nothing is inserted below.
                SELECT coalesce(max(e.version), 0), max(e.created_at) INTO last_version, last_at
                  FROM order_events e WHERE e.order_id = stream AND e.version <= 32;
                IF last_version = 32 THEN
                    last_version := (SELECT e.version FROM order_events e
                                      WHERE e.order_id = stream ORDER BY e.version DESC LIMIT 1);
                    -- What last_business_time() asks beside the 32 that were read above.
                    last_at := greatest(last_at, (SELECT e.created_at FROM order_events e
                                                   WHERE e.order_id = stream AND e.version > 32
                                                   ORDER BY e.created_at DESC LIMIT 1));
                END IF;
            END IF;
            -- Nearly always this one statement is all. The unique version is the claim on the order: while another
            -- append to it is open, this one waits here, and inserts nothing if that one commits.
            RETURN QUERY INSERT INTO order_events AS e
                       (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
                SELECT CASE WHEN last.id IS NULL THEN uuidv7_at(mint_ms, 0) ELSE uuidv7_after(last.id, mint_ms) END,
                       stream, coalesce(last.version, 0) + 1, event ->> 'type', event -> 'data',
                       coalesce(happened_at, greatest(least(clock_ms(), mint_ms), last_at)),
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
                AND event_identity(e.order_id, e.source, e.source_id)
                    = event_identity(stream, event ->> 'source', event ->> 'source_id')
                AND e.source = event ->> 'source' AND e.source_id = event ->> 'source_id';
            EXIT WHEN FOUND;
            last_version := coalesce((SELECT max(e.version) FROM order_events e WHERE e.order_id = stream), 0);
            IF expected_version <> last_version THEN
                RAISE EXCEPTION 'order % is at version %, expected %', stream, last_version, expected_version
                    USING ERRCODE = 'ES001', DETAIL = last_version::text,
                          HINT = 'Read the order again, decide again, and append with the version you read.';
            END IF;
            IF last_version = failed_at THEN  -- nobody else was faster
                PERFORM refuse_collision(stream, event ->> 'source', event ->> 'source_id');
            END IF;
            failed_at := last_version;
            -- From now on one after the other, or all that wait would try at each commit.
            PERFORM pg_advisory_xact_lock(17749, uuid_hash(stream));
        END LOOP;
    END LOOP;
END $body$;
BEGIN
    -- Generic plans: planning for each value costs more than all the rest.
    EXECUTE format($create$
        CREATE OR REPLACE FUNCTION append_events(order_id uuid, events jsonb, expected_version int DEFAULT NULL)
            RETURNS TABLE (id uuid, version int) LANGUAGE plpgsql VOLATILE SECURITY DEFINER
            SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS %L
        $create$, replace(body, 'COLUMNS', 'e.id, e.version'));
    EXECUTE format($create$
        CREATE OR REPLACE FUNCTION record_events(order_id uuid, events jsonb, expected_version int DEFAULT NULL)
            RETURNS SETOF order_events LANGUAGE plpgsql VOLATILE SECURITY DEFINER
            SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS %L
        $create$, replace(body, 'COLUMNS', 'e.*'));
END $generate$;

COMMENT ON FUNCTION append_events IS
    'Appends events to an order, all of them or none, and returns the id and version of each. expected_version: the version the order must be at, 0 for a new one. An event whose source and source_id the order has already is not appended again';
