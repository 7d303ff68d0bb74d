-- The server's clock in milliseconds since 1970. No guarantee of the log rests on it.
CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE
    RETURN floor(date_part('epoch', clock_timestamp()) * 1000)::bigint;

-- RFC 9562 uuidv7 with method 1: 48 bits of milliseconds, a 26-bit counter, 48 random bits.
-- random() is no secret but fast: gen_random_uuid() costs more than the rest of an id, one system call each.
-- With the process id in it, sessions that called setseed() alike still differ.
CREATE OR REPLACE FUNCTION uuidv7_at(ms bigint, counter int) RETURNS uuid LANGUAGE sql VOLATILE
    RETURN (lpad(to_hex((ms << 16) | (7 << 12) | (counter >> 14)), 16, '0')
            || to_hex((-1::bigint << 63) | ((counter & 16383)::bigint << 48)
                      | ((random() * 281474976710655)::bigint # pg_backend_pid())))::uuid;

CREATE OR REPLACE FUNCTION uuidv7_ms(id uuid) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ('x' || left(id::text, 8) || substr(id::text, 10, 4))::bit(48)::bigint;

CREATE OR REPLACE FUNCTION uuidv7_counter(id uuid) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (('x' || substr(id::text, 16, 3))::bit(12)::int << 14)
           | (('x' || substr(id::text, 20, 4))::bit(16)::int & 16383);

-- The next id above last, not before ms.
CREATE OR REPLACE FUNCTION uuidv7_after(last uuid, ms bigint) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF uuidv7_ms(last) < ms THEN
        RETURN uuidv7_at(ms, 0);
    ELSIF uuidv7_counter(last) < (1 << 26) - 1 THEN
        RETURN uuidv7_at(uuidv7_ms(last), uuidv7_counter(last) + 1);
    END IF;
    RETURN uuidv7_at(uuidv7_ms(last) + 1, 0);
END $$;

-- The highest id that millisecond ms can hold.
CREATE OR REPLACE FUNCTION uuidv7_ceiling(ms bigint) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (lpad(to_hex(ms), 12, '0') || '7fffbfffffffffffffff')::uuid;

-- The lowest id that millisecond ms can hold.
CREATE OR REPLACE FUNCTION uuidv7_lowest(ms bigint) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (lpad(to_hex(ms), 12, '0') || '70008000000000000000')::uuid;

-- When an event was recorded, from its id.
CREATE OR REPLACE FUNCTION recorded_at(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN timestamptz '1970-01-01 00:00:00+00' + uuidv7_ms(id) * interval '1 millisecond';

-- Milliseconds of business time as a timestamp.
CREATE OR REPLACE FUNCTION business_time(ms bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN timestamptz '1970-01-01 00:00:00+00' + ms * interval '1 millisecond';

-- The bucket (partition number) of an order: PostgreSQL's own hash partitioning of a uuid, modulus 16.
CREATE OR REPLACE FUNCTION order_bucket(order_id uuid) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (((uuid_hash_extended(order_id, 8816678312871386365) & 15) + 3) & 15)::int;

-- An ISO 8601 string (without zone: UTC) in milliseconds.
CREATE OR REPLACE FUNCTION iso_8601_ms(created_at jsonb) RETURNS bigint LANGUAGE plpgsql STABLE STRICT
    SET timezone = 'UTC' AS $$
DECLARE
    given CONSTANT text := created_at #>> '{}';
BEGIN
    IF jsonb_typeof(created_at) = 'string' AND given ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}' THEN
        RETURN floor(extract(epoch FROM given::timestamptz) * 1000)::bigint;
    END IF;
    RAISE invalid_datetime_format;
EXCEPTION
    WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_parameter_value THEN
        RAISE EXCEPTION 'created_at % is not a time', left(created_at::text, 100)
            USING ERRCODE = 'invalid_datetime_format',
                  HINT = 'Give whole milliseconds since 1970 as a number, or an ISO 8601 string '
                         'such as "2026-03-03T12:00:00Z".';
END $$;

-- A created_at as a client may send it, JSON number (ms), ISO 8601 string or null, in milliseconds.
CREATE OR REPLACE FUNCTION business_ms(created_at jsonb) RETURNS bigint LANGUAGE sql STABLE
    RETURN CASE WHEN jsonb_typeof(created_at) = 'number' AND length(created_at::text) <= 15 THEN created_at::bigint
                ELSE iso_8601_ms(nullif(created_at, 'null')) END;

-- Business days are UTC days. The arithmetic counts from year 1, the first that created_at may lie in.
CREATE OR REPLACE FUNCTION business_day(ms bigint) RETURNS date LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN date '0001-01-01' + ((ms + 62135596800000) / 86400000)::int;

CREATE OR REPLACE FUNCTION start_of_day_ms(day date) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (day - date '1970-01-01') * 86400000::bigint;

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
       AND event_data @@ '$.type() == "object" && (!exists($.amount) || $.amount.type() == "string"
                          && $.amount like_regex "^-?[0-9]{1,8}([.][0-9]{1,2}0*)?$")'
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
        -- Payload version 1 counted integer cents.
        WHEN jsonb_typeof(event_data -> 'amount') = 'number' AND metadata ->> 'schema_version' IS NOT DISTINCT FROM '1'
             AND event_data ->> 'amount' ~ '^-?[0-9]{1,10}$'
            THEN NULL
        ELSE format('its amount %s is not a decimal string that fits DECIMAL(10,2) exactly, such as "12.50"',
                    left((event_data -> 'amount')::text, 40))
    END;
    IF problem IS NULL THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION 'event % cannot be recorded: %',
        regexp_replace(left(event_type, 200), '[[:cntrl:]]', '?', 'g'), problem
        USING ERRCODE = 'check_violation', TABLE = 'order_events', CONSTRAINT = 'event_is_valid',
              HINT = 'Correct the event and append it again. Amounts have at most 8 digits before the point and '
                     '2 after it; they are never rounded.';
END $$;

-- What the log takes, whichever way an event comes: within these limits every reader can read it. Asked of what is
-- appended, never of what is stored: an older release took more, and its rows must survive an upgrade, a restore
-- and a replication. So it is not a CHECK.
--
-- Null, or what is wrong with the event, in words.
CREATE OR REPLACE FUNCTION beyond_limits(event_data jsonb, metadata jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written CONSTANT text := event_data::text || metadata::text;
    long    jsonb;
BEGIN
    IF metadata ? 'schema_version'
       AND (jsonb_typeof(metadata -> 'schema_version') NOT IN ('number', 'string')
            OR metadata ->> 'schema_version' !~ '^[1-9][0-9]{0,8}$') THEN
        RETURN format('schema_version in its metadata is %s, not a whole number from 1 to 999999999',
                      left((metadata -> 'schema_version')::text, 40));
    END IF;
    IF jsonb_typeof(event_data -> 'amount') = 'string' AND length(event_data ->> 'amount') > 20 THEN
        RETURN format('its amount "%s… has more than 20 characters', left(event_data ->> 'amount', 20));
    END IF;
    IF octet_length(written) > 1048576 THEN
        RETURN format('its data and metadata have %s bytes as JSON, more than 1048576', octet_length(written));
    END IF;
    -- Nothing is nested deeper than it has brackets, and a number out of range is long.
    IF octet_length(written) - octet_length(translate(written, '[{', '')) > 100
       AND (event_data @? 'strict $.**{100} ? (@.type() == "object" || @.type() == "array")'
            OR metadata @? 'strict $.**{100} ? (@.type() == "object" || @.type() == "array")') THEN
        RETURN 'its data or metadata is nested deeper than 100 levels';
    END IF;
    IF written ~ '[0-9]{200}' THEN
        SELECT number INTO long
          FROM (SELECT jsonb_path_query(event_data, 'strict $.** ? (@.type() == "number")')
                UNION ALL
                SELECT jsonb_path_query(metadata, 'strict $.** ? (@.type() == "number")')) AS numbers (number)
         WHERE length(number::text) > 400 OR abs((number #>> '{}')::numeric) > 1.7976931348623157e308
         LIMIT 1;
        IF FOUND THEN
            RETURN format('its number %s… has %s characters: at most 400, and not beyond 1.7976931348623157e308',
                          left(long::text, 20), length(long::text));
        END IF;
    END IF;
    RETURN NULL;
END $$;

-- The log is append-only for everyone, its owner included.
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the event log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Append an event that corrects the fact, for example OrderAmountCorrected; '
                     'late facts carry their own business time in created_at.';
END $$;

-- Before each row that is inserted into the log, by whomever: it keeps to the limits, and its id lies above the floor
-- that this transaction has announced (hold_horizon), or readers that have passed it would never see it. A restore of
-- data alone brings rows that were recorded elsewhere. Its transaction says so, and the guard lets them pass:
--     SET LOCAL eventstore.restoring = 'on';
-- Neither a full restore nor logical replication fires this trigger.
CREATE OR REPLACE FUNCTION guard_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    problem text;
BEGIN
    IF current_setting('eventstore.restoring', true) = 'on' THEN
        RETURN NEW;
    END IF;
    IF coalesce(current_setting('eventstore.floor_id', true), '') = '' THEN
        RAISE EXCEPTION 'events are appended by append_events(), not by INSERT or COPY into %', TG_TABLE_NAME
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'An id that was not announced first is lost to readers that have passed it. To restore rows '
                         'that were recorded elsewhere: BEGIN; SET LOCAL eventstore.restoring = ''on''; …';
    ELSIF NEW.id < current_setting('eventstore.floor_id')::uuid OR substr(NEW.id::text, 15, 1) <> '7' THEN
        RAISE EXCEPTION 'the id % is no uuidv7 above what this transaction announced', NEW.id
            USING ERRCODE = 'check_violation', TABLE = 'order_events',
                  HINT = 'Leave the ids to append_events().';
    END IF;
    -- Nearly every event is this short, and then within the limits.
    IF octet_length(NEW.event_data::text) > 200 OR octet_length(NEW.metadata::text) > 200
       OR NEW.metadata ? 'schema_version' OR length(NEW.event_data ->> 'amount') > 20 THEN
        problem := public.beyond_limits(NEW.event_data, NEW.metadata);
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'event % cannot be recorded: %',
                regexp_replace(left(NEW.event_type, 200), '[[:cntrl:]]', '?', 'g'), problem
                USING ERRCODE = 'check_violation', TABLE = 'order_events', CONSTRAINT = 'limits',
                      HINT = 'Keep large or deep documents elsewhere, and their address in the event.';
        END IF;
    END IF;
    RETURN NEW;
END $$;

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
                -- Stamped by this clock, not after the id, and never before the order's last event: if another one
                -- comes in between, nothing is inserted below.
                SELECT coalesce(max(e.version), 0), max(e.created_at) INTO last_version, last_at
                  FROM order_events e WHERE e.order_id = stream;
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

-- A temporary table for COPY, emptied at every commit. It belongs to the owner of the log, so that
-- append_staged() may trust it and a writer needs no right on the log itself.
CREATE OR REPLACE FUNCTION open_staging() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    IF to_regclass('pg_temp.staged_events') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TEMPORARY TABLE staged_events (
        line        bigint NOT NULL,  -- any numbers, each once; events are appended in their order
        order_id    uuid NOT NULL,
        event_type  text NOT NULL,
        event_data  jsonb NOT NULL,
        created_at  bigint,
        source      text NOT NULL,
        source_id   text NOT NULL,
        metadata    jsonb NOT NULL
    ) ON COMMIT DELETE ROWS;
    GRANT INSERT ON pg_temp.staged_events TO PUBLIC;  -- only this session can reach it
END $$;

-- Appends what was copied into staged_events, set-based, in the order of its lines. Returns the lines that
-- were not appended: 'duplicate' (this very event is recorded) or 'conflict' (its source and id stand for
-- another event of the order). It looks for duplicates when a unique index has found one; a caller that expects
-- some, as in the chunk before, says so: that is faster and leaves no dead rows in the log.
CREATE OR REPLACE FUNCTION append_staged(expect_duplicates boolean DEFAULT false) RETURNS TABLE (line bigint, outcome text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
    -- One plan for all chunks, which probes indexes however much the log has grown since it was made.
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off SET work_mem = '32MB' AS $$
#variable_conflict use_column
DECLARE
    mint_ms    bigint := hold_horizon();
    now_ms     bigint := least(clock_ms(), mint_ms);  -- when an event happened that does not say it
    first_line bigint;
    known      bigint[] := '{}';  -- lines with the identity of a recorded event, or of an earlier line
    attempt    int := 1;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('pg_temp.staged_events') AND relkind = 'r'
                                          AND pg_get_userbyid(relowner) = current_user) THEN
        RAISE EXCEPTION 'there is no staging table of the log in this session'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call open_staging(), then COPY into it.';
    END IF;
    first_line := (SELECT min(line) FROM pg_temp.staged_events);
    LOOP
        IF expect_duplicates THEN
            SELECT coalesce(array_agg(line), '{}') INTO known
              FROM (SELECT s.line
                      FROM pg_temp.staged_events s
                     CROSS JOIN LATERAL (
                           SELECT FROM order_events e
                            WHERE e.order_id = s.order_id AND e.source = s.source AND e.source_id = s.source_id
                            LIMIT 1) recorded
                     UNION ALL
                    SELECT s.line
                      FROM (SELECT order_id, source, source_id, min(line) AS first_line
                              FROM pg_temp.staged_events GROUP BY order_id, source, source_id HAVING count(*) > 1) twice
                      JOIN pg_temp.staged_events s USING (order_id, source, source_id)
                     WHERE s.line > twice.first_line) found;
        END IF;

        -- Nearly always all other lines are new and nobody else appends to their orders: this INSERT is then all
        -- there is to do. If not, a unique index notices, and nothing was inserted.
        BEGIN
            mint_ms := greatest(mint_ms, clock_ms());
            WITH streams AS MATERIALIZED (
                -- Above the last id of the order itself: one whose last id lies far ahead takes no other with it.
                SELECT o.order_id, last.version, greatest(mint_ms, uuidv7_ms(last.id) + 1) AS ms
                  FROM (SELECT DISTINCT order_id FROM pg_temp.staged_events) o
                  LEFT JOIN LATERAL (SELECT version, id FROM order_events e
                                      WHERE e.order_id = o.order_id ORDER BY version DESC LIMIT 1) last ON true
            )
            INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
            -- Ids rise with the lines, whose numbers may have gaps larger than the counter of an id.
            SELECT uuidv7_at(o.ms + (nth >> 26), (nth & 67108863)::int), order_id,
                   coalesce(o.version, 0) + row_number() OVER stream, event_type, event_data,
                   -- Not dated by its producer: stamped by this clock, never before the order's last event.
                   CASE WHEN s.created_at IS NULL
                        THEN greatest(now_ms, max(s.created_at) OVER stream,
                                      (SELECT max(created_at) FROM order_events e WHERE e.order_id = s.order_id))
                        ELSE s.created_at END,
                   source, source_id, metadata
              FROM (SELECT *, line - first_line AS nth FROM pg_temp.staged_events
                     WHERE line NOT IN (SELECT unnest(known))) s
              JOIN streams o USING (order_id)
            WINDOW stream AS (PARTITION BY order_bucket(order_id), order_id ORDER BY line)
            -- In one order in all sessions, against deadlocks; and one bucket after the other, which the caches like.
             ORDER BY order_bucket(order_id), order_id, line;
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            IF attempt = 5 THEN
                RAISE EXCEPTION 'other sessions keep appending to the orders of these lines'
                    USING ERRCODE = 'serialization_failure', HINT = 'Try again, with fewer lines in a transaction.';
            END IF;
            attempt := attempt + 1;
            expect_duplicates := true;
        END;
    END LOOP;
    IF known <> '{}' THEN
        RETURN QUERY
            SELECT s.line, CASE WHEN recorded.same THEN 'duplicate' ELSE 'conflict' END
              FROM pg_temp.staged_events s
             CROSS JOIN LATERAL (
                   SELECT e.event_type = s.event_type AND e.event_data = s.event_data
                          AND (s.created_at IS NULL OR e.created_at = s.created_at) AS same
                     FROM order_events e
                    WHERE e.order_id = s.order_id AND e.source = s.source AND e.source_id = s.source_id
                    LIMIT 1) recorded
             WHERE s.line IN (SELECT unnest(known));
    END IF;
END $$;

-- Step 1 of a read, to be committed before step 2: from now on every append mints its ids above what is
-- returned. The newest committed id is covered, so a reader always sees what was committed before; but an id
-- that lies more than a minute ahead of the clock, and of what was published, moves nothing: its event waits
-- until the clock is there. (After a clock went back, all new ids lie ahead of it, next to what was published.)
CREATE OR REPLACE FUNCTION publish_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    least_ms  bigint;  -- to be published whatever is stored
    newest    uuid;
    holder    record;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'the horizon cannot be published on a standby: read the feed on the primary'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    BEGIN
        -- One at a time: the sequence must never be set lower.
        LOCK TABLE horizon_publishing IN EXCLUSIVE MODE;
        least_ms := greatest(pg_sequence_last_value('feed_horizon'), clock_ms());
        SELECT id INTO newest FROM order_events
         WHERE id <= uuidv7_ceiling(least_ms + 60000) ORDER BY id DESC LIMIT 1;
        PERFORM setval('feed_horizon', greatest(least_ms, uuidv7_ms(newest)));
        -- Whoever does not commit keeps no lock, so nobody has to wait for it. What a sequence was set to stays.
        RAISE EXCEPTION USING ERRCODE = 'ES000';
    EXCEPTION
        WHEN SQLSTATE 'ES000' THEN NULL;
        WHEN lock_not_available THEN
            SELECT l.pid, a.usename, a.application_name, a.xact_start INTO holder
              FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
             WHERE l.relation = 'horizon_publishing'::regclass AND l.granted LIMIT 1;
            RAISE EXCEPTION 'the horizon could not be published for 10 s: pid % (%, %) holds horizon_publishing since %',
                holder.pid, holder.usename, holder.application_name, holder.xact_start
                USING ERRCODE = 'lock_not_available',
                      HINT = format('End that session: SELECT pg_terminate_backend(%s)', holder.pid);
    END;
    -- What readers were shown must survive a crash.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'local', true);
    END IF;
    PERFORM set_config('eventstore.published_here', 'yes', true);
    RETURN pg_sequence_last_value('feed_horizon');
END $$;

-- Step 2 of a read: the millisecond up to which the feed is complete and will never change.
-- Call it in a statement of its own: the rows must be read by a later one, in a later snapshot.
CREATE OR REPLACE FUNCTION horizon_ms() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    published bigint;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'the feed cannot be read on a standby: open appends are only known to the primary'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the feed can only be read at isolation level READ COMMITTED, not %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'The rows must be read in a snapshot later than the horizon.';
    END IF;
    IF current_setting('eventstore.published_here', true) <> '' THEN
        RAISE EXCEPTION 'publish_horizon() was called in this transaction and is not committed yet'
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'Commit after publish_horizon(), then read in a new transaction: '
                         'what readers were shown must survive a crash.';
    END IF;
    -- First what was published, then the locks: an append whose lock is not there yet will mint above the former.
    published := coalesce(pg_sequence_last_value('feed_horizon'), 0);
    RETURN least(published, (
        -- Not below 0, whatever floor a stranger announces: there is no id of a time before.
        SELECT greatest(0, min(((l.classid::bigint & 65535) << 32) | l.objid::bigint) - 1)
          FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.objsubid = 1
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND l.classid::bigint >> 16 = 17747
        HAVING count(*) > 0));
END $$;

-- The feed: events after a watermark (null: from the beginning), each exactly once, an order's versions rising.
CREATE OR REPLACE FUNCTION read_events(after uuid, max_events int)
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

-- Who holds the locks of the log, or waits for them: a row for each session, or prepared transaction, and kind.
--   append       announced an append that is still open: readers see nothing recorded after it
--   writers      keeps appends waiting: to one order, or those that begin in one millisecond
--   publishing   keeps readers from reading on
--   consumer     follows under a name, or changes its row
--   projection   refreshes or promotes a read model
--   replay       folds a bucket of a candidate
--   migration    changes the schema
--   table        keeps a whole table of the log from being written
-- name is what is held, where that can be told. since is when the transaction began; of a lock that belongs to
-- the session, which it may have taken later, when the session began. gid names a prepared transaction: it has
-- no session. waiting_for are the pids that it waits for now, 0 for a prepared transaction.
CREATE OR REPLACE FUNCTION lock_holders()
    RETURNS TABLE (kind text, name text, floor_ms bigint, pid int, role name, application_name text,
                   client_addr inet, state text, since timestamptz, query text, gid text,
                   granted boolean, waiting_for int[])
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH lock AS MATERIALIZED (
        SELECT l.*, CASE WHEN l.pid IS NULL THEN l.virtualtransaction END AS prepared
          FROM pg_locks l
         WHERE l.locktype IN ('advisory', 'relation', 'transactionid', 'tuple')
           AND (l.database IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
                OR l.database IS NULL)
           -- Of the locks on tables, which are many, only those that can keep others waiting.
           AND (l.locktype <> 'relation' OR NOT l.granted
                OR l.relation IN ('projections'::regclass, 'consumers'::regclass, 'horizon_publishing'::regclass)
                OR l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
    ), kind_of AS (
        SELECT CASE WHEN l.objsubid = 1 AND l.classid::bigint >> 16 = 17747
                    THEN CASE l.mode WHEN 'ShareLock' THEN 'append' ELSE 'writers' END
                    WHEN l.objsubid <> 2 THEN NULL
                    WHEN l.classid::bigint = 17749 THEN 'writers'
                    WHEN l.classid::bigint = 17748 THEN 'consumer'
                    WHEN l.classid::bigint = 17747 THEN 'replay'
                    WHEN l.classid = 0 AND l.objid::bigint = 1163067393 THEN 'migration'
               END AS kind,
               CASE WHEN l.objsubid <> 2 THEN NULL
                    WHEN l.classid::bigint = 17748
                    THEN (SELECT string_agg(c.name, ', ' ORDER BY c.name) FROM consumers c
                           WHERE hashtext(c.name)::bigint & 4294967295 = l.objid::bigint)
                    WHEN l.classid::bigint = 17747
                    THEN (SELECT c.relname::text FROM pg_class c
                           WHERE c.relnamespace = 'public'::regnamespace AND c.relname LIKE '%\_candidate\___'
                             AND hashtext(c.relname::text)::bigint & 4294967295 = l.objid::bigint LIMIT 1)
               END AS name,
               CASE WHEN l.objsubid = 1 THEN ((l.classid::bigint & 65535) << 32) | l.objid::bigint END AS floor_ms,
               l.pid, l.prepared, l.granted
          FROM lock l WHERE l.locktype = 'advisory'
        UNION ALL
        -- A row that is locked or changed shows the transaction that did so; one that waits, the row it waits for.
        SELECT CASE l.relation WHEN 'consumers'::regclass THEN 'consumer' ELSE 'projection' END,
               coalesce(held.name, awaited.name), NULL, l.pid, l.prepared,
               held.name IS NOT NULL OR NOT EXISTS (
                   SELECT FROM lock w WHERE w.pid = l.pid AND NOT w.granted)
          FROM lock l
          LEFT JOIN LATERAL (
               SELECT r.name
                 FROM lock t
                 JOIN (SELECT p.name, p.xmax AS locker, 'projections'::regclass AS relation FROM projections p
                       UNION ALL
                       SELECT c.name, c.xmax, 'consumers'::regclass FROM consumers c) AS r
                   ON r.locker = t.transactionid AND r.relation = l.relation
                WHERE t.locktype = 'transactionid' AND t.mode = 'ExclusiveLock' AND t.granted
                  AND (t.pid, t.prepared) IS NOT DISTINCT FROM (l.pid, l.prepared)) AS held ON true
          LEFT JOIN LATERAL (
               SELECT r.name
                 FROM lock t
                 JOIN (SELECT p.name, p.ctid AS place, 'projections'::regclass AS relation FROM projections p
                       UNION ALL
                       SELECT c.name, c.ctid, 'consumers'::regclass FROM consumers c) AS r
                   ON r.place = format('(%s,%s)', t.page, t.tuple)::tid AND r.relation = t.relation
                WHERE t.locktype = 'tuple' AND t.relation = l.relation AND t.pid = l.pid) AS awaited ON true
         WHERE l.locktype = 'relation' AND l.relation IN ('projections'::regclass, 'consumers'::regclass)
           AND l.mode IN ('RowShareLock', 'RowExclusiveLock')
        UNION ALL
        SELECT CASE l.relation WHEN 'horizon_publishing'::regclass THEN 'publishing' ELSE 'table' END,
               CASE l.relation WHEN 'horizon_publishing'::regclass THEN NULL ELSE c.relname::text END,
               NULL, l.pid, l.prepared, l.granted
          FROM lock l
          JOIN pg_class c ON c.oid = l.relation AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
         WHERE l.locktype = 'relation'
           AND CASE WHEN l.relation = 'horizon_publishing'::regclass THEN l.mode <> 'AccessShareLock'
                    ELSE c.relname NOT LIKE '%\_candidate%'
                         AND (l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                              OR NOT l.granted)
               END
    ), holder AS (
        SELECT k.kind, string_agg(DISTINCT k.name, ', ') AS name, min(k.floor_ms) AS floor_ms, k.pid, k.prepared,
               bool_and(k.granted) AS granted
          FROM kind_of k
         WHERE k.kind IS NOT NULL
         GROUP BY k.kind, k.pid, k.prepared
    )
    SELECT h.kind, h.name, h.floor_ms, h.pid, coalesce(a.usename, x.owner),
           CASE WHEN x.gid IS NULL THEN a.application_name ELSE 'prepared transaction ' || x.gid END,
           a.client_addr, CASE WHEN x.gid IS NULL THEN a.state ELSE 'prepared' END,
           CASE WHEN x.gid IS NOT NULL THEN x.prepared
                -- An append that claims to be older than its transaction is a lock of the session.
                WHEN h.kind = 'append'
                THEN least(coalesce(a.xact_start, a.backend_start),
                           greatest(a.backend_start, to_timestamp(least(h.floor_ms, 253402300799999) / 1000.0)))
                ELSE coalesce(a.xact_start, a.backend_start)
           END,
           left(a.query, 200), x.gid, h.granted,
           CASE WHEN EXISTS (SELECT FROM lock w WHERE w.pid = h.pid AND NOT w.granted)
                THEN ARRAY(SELECT DISTINCT b FROM unnest(pg_blocking_pids(h.pid)) AS b ORDER BY b)
                ELSE '{}' END
      FROM holder h
      LEFT JOIN pg_stat_activity a ON a.pid = h.pid
      LEFT JOIN lock t ON t.prepared = h.prepared AND t.locktype = 'transactionid' AND t.granted
                      AND t.transactionid IN (SELECT p.transaction FROM pg_prepared_xacts p)
      LEFT JOIN pg_prepared_xacts x ON x.transaction = t.transactionid
     ORDER BY 9, 1, 4;
$$;

-- Who holds the feed back, and since when: the sessions with an append that is still open, and the appends that
-- were prepared and neither committed nor rolled back.
CREATE OR REPLACE FUNCTION horizon_holders()
    RETURNS TABLE (floor_ms bigint, pid int, role name, application_name text, client_addr inet,
                   state text, open_since timestamptz, query text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT h.floor_ms, h.pid, h.role, h.application_name, h.client_addr, h.state, h.since, h.query
      FROM lock_holders() h
     WHERE h.kind = 'append'
     ORDER BY 1;
$$;

-- The holders of a kind of lock, and of a name, in words, for messages: 'nobody' where there is none. Where a row
-- was locked behind a savepoint its name cannot be told: then all that may be meant.
CREATE OR REPLACE FUNCTION name_holders(kind text, name text DEFAULT NULL) RETURNS text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(string_agg(
               CASE WHEN h.gid IS NOT NULL THEN format('prepared transaction %L', h.gid) ELSE format('pid %s', h.pid) END
               || format(' (role %s', coalesce(h.role, 'unknown'))
               || CASE WHEN h.gid IS NULL AND h.application_name <> '' THEN ', application ' || h.application_name ELSE '' END
               || CASE WHEN h.client_addr IS NOT NULL THEN ', from ' || host(h.client_addr) ELSE '' END
               || CASE WHEN h.state IS NOT NULL AND h.gid IS NULL THEN ', ' || h.state ELSE '' END
               || ')' || coalesce(to_char(h.since AT TIME ZONE 'UTC', '" since "YYYY-MM-DD HH24:MI:SS" UTC"'), ''),
               '; '), 'nobody')
      FROM (SELECT o.*, bool_or(o.name = $2) OVER () AS some_are_named FROM lock_holders() o
             WHERE o.kind = $1 AND o.granted AND o.pid IS DISTINCT FROM pg_backend_pid()) AS h
     WHERE $2 IS NULL OR h.name = $2 OR (h.name IS NULL AND h.some_are_named IS NOT TRUE);
$$;

-- Those that have kept others waiting for longer than the setting max_hold, and the statement that ends each:
-- readers or writers, whoever they are; consumers, replays and migrations, where it is not theirs to do that, for
-- any login can take an advisory lock. Who follows, refreshes, promotes or replays may do so for long.
CREATE OR REPLACE FUNCTION overdue_holders()
    RETURNS TABLE (kind text, pid int, role name, application_name text, client_addr inet, state text,
                   since timestamptz, query text, gid text, remedy text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT h.kind, h.pid, h.role, h.application_name, h.client_addr, h.state, h.since, h.query, h.gid,
           CASE WHEN h.gid IS NULL THEN format('SELECT pg_terminate_backend(%s)', h.pid)
                ELSE format('ROLLBACK PREPARED %1$L (or COMMIT PREPARED %1$L)', h.gid) END
      FROM lock_holders() h
     WHERE CASE h.kind
               WHEN 'append' THEN true
               WHEN 'publishing' THEN h.granted
               WHEN 'writers' THEN h.granted
               WHEN 'consumer' THEN h.granted AND EXISTS (
                   SELECT FROM consumers c JOIN pg_roles r ON r.rolname = c.owner
                    WHERE c.name = h.name AND NOT pg_has_role(h.role, r.oid, 'MEMBER'))
               WHEN 'replay' THEN h.granted AND NOT has_table_privilege(h.role, 'replay_buckets', 'INSERT')
               WHEN 'migration' THEN h.granted AND NOT pg_has_role(h.role, (
                   SELECT c.relowner FROM pg_class c WHERE c.oid = 'order_events'::regclass), 'MEMBER')
               ELSE false
           END
       AND h.pid IS DISTINCT FROM pg_backend_pid()
       AND h.since < clock_timestamp() - (SELECT s.max_hold FROM settings s);
$$;

-- Ends the sessions among overdue_holders(), where the owner of this function may. What a transaction had not
-- committed is rolled back. A prepared transaction is somebody's decision: it is listed, and left alone.
CREATE OR REPLACE FUNCTION end_holders()
    RETURNS TABLE (kind text, pid int, role name, application_name text, client_addr inet, since timestamptz,
                   gid text, ended boolean, remedy text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    holder record;
BEGIN
    FOR holder IN SELECT * FROM overdue_holders() LOOP
        ended := false;
        IF holder.pid IS NOT NULL THEN
            -- Looked at again in the statement that ends it: a pid that was free meanwhile may be anybody's.
            PERFORM pg_stat_clear_snapshot();
            BEGIN
                ended := (SELECT bool_or(pg_terminate_backend(h.pid, 2000)) FROM lock_holders() h
                           WHERE h.pid = holder.pid AND h.kind = holder.kind AND h.since = holder.since
                             AND h.role IS NOT DISTINCT FROM holder.role);
                CONTINUE WHEN ended IS NULL;  -- it let go by itself
            EXCEPTION
                WHEN insufficient_privilege THEN NULL;
            END;
        END IF;
        kind := holder.kind; pid := holder.pid; role := holder.role; since := holder.since; gid := holder.gid;
        application_name := holder.application_name; client_addr := holder.client_addr; remedy := holder.remedy;
        RETURN NEXT;
    END LOOP;
    PERFORM pg_stat_clear_snapshot();
END $$;

REVOKE ALL ON FUNCTION lock_holders, name_holders, overdue_holders, end_holders FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lock_holders, name_holders, overdue_holders TO eventstore_reader, eventstore_projector;
GRANT EXECUTE ON FUNCTION end_holders TO eventstore_projector;

-- No event above this id is read soon: because of a stored id, publishing goes no further than a minute beyond
-- the clock and what was published. Events above it wait, with their orders, until the clock is there.
CREATE OR REPLACE FUNCTION feed_ceiling() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
    SELECT uuidv7_ceiling(greatest(pg_sequence_last_value('feed_horizon'), clock_ms()) + 60000);
$$;

-- The row of a consumer, locked, for the one who may change it: the role that registered it, the members of that
-- role, and superusers. One from before there were owners, or whose role is gone, has no owner and belongs to
-- whoever comes first. Null where there is no such consumer.
CREATE OR REPLACE FUNCTION own_consumer(consumer text) RETURNS consumers LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    kept consumers;
BEGIN
    IF consumer IS NULL OR consumer = '' OR length(consumer) > 200 THEN
        RAISE EXCEPTION 'a consumer needs a name of 1 to 200 characters, found %',
            coalesce(length(consumer) || ' characters', 'null') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO kept FROM consumers c WHERE c.name = consumer FOR UPDATE;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = kept.owner) THEN
        kept.owner := NULL;
    ELSIF NOT pg_has_role(session_user, kept.owner, 'MEMBER') THEN
        RAISE EXCEPTION 'consumer % belongs to the role %, and % is no member of it',
            quote_literal(consumer), quote_ident(kept.owner), quote_ident(session_user)
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('Use another name, or let an administrator run: GRANT %I TO %I', kept.owner, session_user);
    END IF;
    RETURN kept;
END $$;

-- Refuses a watermark above what readers can have been shown: the events in between would never be delivered.
CREATE OR REPLACE FUNCTION check_watermark(consumer text, watermark uuid) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    shown uuid;
BEGIN
    -- As in horizon_ms(), but at any isolation level: first what was published, then the appends that are open.
    shown := uuidv7_ceiling(coalesce(pg_sequence_last_value('feed_horizon'), 0));
    shown := least(shown, (
        SELECT uuidv7_ceiling(greatest(0, min(((l.classid::bigint & 65535) << 32) | l.objid::bigint) - 1))
          FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.objsubid = 1
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND l.classid::bigint >> 16 = 17747
        HAVING count(*) > 0));
    IF watermark > shown THEN
        RAISE EXCEPTION 'watermark % of consumer % is above the horizon: readers were shown nothing above %',
            watermark, quote_literal(consumer), shown
            USING ERRCODE = 'ES002',
                  HINT = 'Save the id of the last event that read_events() returned.';
    END IF;
END $$;

-- Remembers how far a consumer is, and registers it the first time, as the caller's. A watermark never goes back
-- by itself: a process that was slow to notice its successor changes nothing.
CREATE OR REPLACE FUNCTION save_watermark(consumer text, watermark uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    kept consumers;
BEGIN
    IF watermark IS NULL THEN
        RAISE EXCEPTION 'the watermark of consumer % is null: give the id of the last event it is done with, or '
            '00000000-0000-0000-0000-000000000000 for the beginning', coalesce(quote_literal(consumer), 'null')
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    LOOP
        kept := own_consumer(consumer);
        IF kept.watermark IS NULL OR watermark > kept.watermark THEN
            PERFORM check_watermark(consumer, watermark);
        ELSIF kept.owner IS NOT NULL THEN
            RETURN;
        END IF;
        IF kept.name IS NOT NULL THEN
            UPDATE consumers c
               SET watermark = greatest(c.watermark, save_watermark.watermark), updated_at = now(),
                   owner = coalesce(kept.owner, session_user)
             WHERE c.name = consumer;
            RETURN;
        END IF;
        INSERT INTO consumers (name, watermark, owner) VALUES (consumer, watermark, session_user)
            ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN;
        END IF;  -- somebody else was faster: see whose it is
    END LOOP;
EXCEPTION
    WHEN lock_not_available THEN
        RAISE EXCEPTION 'consumer % is being changed by %, for more than 10 s',
            quote_literal(consumer), name_holders('consumer', consumer)
            USING ERRCODE = 'lock_not_available', HINT = 'End that transaction, then try again.';
END $$;

-- What resetting and deleting have in common: the consumer is there, is the caller's, and nobody follows it,
-- who would save a watermark of his own afterwards.
CREATE OR REPLACE FUNCTION claim_consumer(consumer text) RETURNS consumers LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    kept consumers;
BEGIN
    kept := own_consumer(consumer);
    IF kept.name IS NULL THEN
        RAISE EXCEPTION 'there is no consumer %', quote_literal(consumer)
            USING ERRCODE = 'no_data_found', HINT = 'SELECT name FROM consumers lists those that there are.';
    ELSIF NOT pg_try_advisory_xact_lock(17748, hashtext(consumer)) THEN
        RAISE EXCEPTION 'consumer % is followed by %', quote_literal(consumer), name_holders('consumer', consumer)
            USING ERRCODE = 'object_in_use', HINT = 'Stop that process first: it would save its own watermark.';
    END IF;
    RETURN kept;
EXCEPTION
    WHEN lock_not_available THEN
        RAISE EXCEPTION 'consumer % is being changed by %, for more than 10 s',
            quote_literal(consumer), name_holders('consumer', consumer)
            USING ERRCODE = 'lock_not_available', HINT = 'End that transaction, then try again.';
END $$;

-- Puts a consumer somewhere else, forwards or back, deliberately: what lies behind is delivered again, what lies
-- before never.
CREATE OR REPLACE FUNCTION reset_watermark(consumer text, watermark uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    kept consumers;
BEGIN
    IF watermark IS NULL THEN
        RAISE EXCEPTION 'the watermark of consumer % is null: give the id of an event, or '
            '00000000-0000-0000-0000-000000000000 for the beginning', coalesce(quote_literal(consumer), 'null')
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    kept := claim_consumer(consumer);
    PERFORM check_watermark(consumer, watermark);
    UPDATE consumers c SET watermark = reset_watermark.watermark, updated_at = now(),
                           owner = coalesce(kept.owner, session_user)
     WHERE c.name = consumer;
END $$;

-- Forgets a consumer: one that follows under its name later begins at the beginning.
CREATE OR REPLACE FUNCTION delete_consumer(consumer text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
BEGIN
    PERFORM claim_consumer(consumer);
    DELETE FROM consumers c WHERE c.name = consumer;
END $$;

-- The events of an order that its row in orders does not hold yet: with the row, the exact current state.
CREATE OR REPLACE FUNCTION order_tail(order_id uuid) RETURNS SETOF order_events LANGUAGE sql STABLE AS $$
    SELECT e.* FROM order_events e
     WHERE e.order_id = $1
       AND e.version > coalesce((SELECT o.version FROM orders o WHERE o.order_id = $1), 0)
     ORDER BY e.version;
$$;

REVOKE ALL ON FUNCTION own_consumer, check_watermark, claim_consumer, save_watermark, reset_watermark,
                       delete_consumer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION save_watermark, reset_watermark, delete_consumer TO eventstore_reader, eventstore_projector;

-- The amount of money that the payload of an event names; null where it names none in the form that the log
-- takes. Payloads of version 1 count integer cents. Never fails: what follows two decimals can only be zeros.
CREATE OR REPLACE FUNCTION event_amount(event_data jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE jsonb_typeof(event_data -> 'amount')
               WHEN 'number' THEN
                   CASE WHEN event_data ->> 'amount' ~ '^-?[0-9]{1,10}$'
                        THEN (event_data ->> 'amount')::numeric * 0.01 END
               WHEN 'string' THEN
                   CASE WHEN event_data ->> 'amount' ~ '^-?[0-9]{1,8}(\.[0-9]{1,2}0*)?$'
                        THEN substring(event_data ->> 'amount' FROM '^-?[0-9]{1,8}(?:\.[0-9]{1,2})?')::numeric END
           END;

-- The currency of a payment; XXX where it names none that an order could have.
CREATE OR REPLACE FUNCTION event_currency(event_data jsonb) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN event_data ->> 'currency' ~ '^[A-Z]{3}$' THEN event_data ->> 'currency' ELSE 'XXX' END;

-- The version that an order had when the feed stood at an id: within an order ids rise with versions, which
-- have no gaps, so a few probes of the primary key find it however long the stream is.
CREATE OR REPLACE FUNCTION order_version_at(order_id uuid, id uuid) RETURNS int LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    lowest  int := 0;
    highest int;
    middle  int;
BEGIN
    SELECT e.version INTO highest FROM order_events e
     WHERE e.order_id = order_version_at.order_id ORDER BY e.version DESC LIMIT 1;
    middle := highest;  -- most questions are about the recent past: look at the end first
    WHILE lowest < highest LOOP
        IF (SELECT e.id FROM order_events e
             WHERE e.order_id = order_version_at.order_id AND e.version = middle) <= order_version_at.id THEN
            lowest := middle;
        ELSE
            highest := middle - 1;
        END IF;
        middle := (lowest + highest + 1) / 2;
    END LOOP;
    RETURN lowest;
END $$;

-- The snapshot or checkpoint to start a fold from: the latest that lies before a position in the order of the
-- fold and holds no version above max_version.
CREATE OR REPLACE FUNCTION latest_snapshot(order_id uuid, before_at bigint, before_version int, max_version int,
                                fold_version text)
    RETURNS SETOF order_snapshots LANGUAGE sql STABLE AS $$
    SELECT * FROM (
        (SELECT s.* FROM order_snapshots s
          WHERE s.order_id = $1 AND s.day <= business_day(before_at)
            AND (s.until_at, s.until_version) < (before_at, before_version)
            AND s.version <= max_version AND s.fold_version = $5
          ORDER BY s.day DESC LIMIT 1)
        UNION ALL
        (SELECT c.* FROM order_checkpoints c
          WHERE c.order_id = $1 AND (c.until_at, c.until_version) < (before_at, before_version)
            AND c.version <= max_version AND c.fold_version = $5
          ORDER BY c.until_at DESC, c.until_version DESC LIMIT 1)) found
     ORDER BY until_at DESC, until_version DESC LIMIT 1;
$$;

-- What a question about the past of one order has to keep to: its latest version and the last one that may be
-- used, the business time of the first event up to there that the snapshots have not taken in (null: none),
-- and the rules of the table orders.
CREATE OR REPLACE FUNCTION state_limits(order_id uuid, known_ms bigint, version int, OUT latest int, OUT last int,
                             OUT first_unseen bigint, OUT fold_version text)
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    seen    int;
    unseen  bigint;
BEGIN
    SELECT e.version INTO latest FROM order_events e
     WHERE e.order_id = $1 ORDER BY e.version DESC LIMIT 1;
    last := least(latest, order_version_at($1, uuidv7_ceiling(known_ms)), $3);
    SELECT order_version_at($1, p.watermark) INTO seen FROM projections p WHERE p.name = 'order_snapshots';
    IF last > coalesce(seen, 0) THEN
        -- Counting a column that the index by business time lacks keeps PostgreSQL from reading the stream there.
        SELECT min(e.created_at), count(e.event_type) INTO first_unseen, unseen
          FROM order_events e WHERE e.order_id = $1 AND e.version > coalesce(seen, 0) AND e.version <= last;
    END IF;
    SELECT p.fold_version INTO state_limits.fold_version FROM projections p WHERE p.name = 'orders';
END $$;

-- Inlined into the query that calls it, so that its WHERE and joins reach the indexes. Created anew
-- by add_order_column().
CREATE OR REPLACE FUNCTION orders_as_of(at timestamptz, known timestamptz DEFAULT 'infinity')
    RETURNS SETOF orders LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT /* columns of orders */
      FROM order_history h
     WHERE h.valid_from <= at AND h.recorded_from <= known
       -- The bound is above all times that can be recorded: asked for 'infinity', what never ended is found.
       AND h.valid_to > least(at, '200000-01-01 00:00:00+00')
       AND h.recorded_to > least(known, '200000-01-01 00:00:00+00');
END;

COMMENT ON FUNCTION orders_as_of IS
    'All orders as they were at the business time "at", as we knew it at the recorded time "known": the fold of '
    'the events with created_at <= at that were recorded <= known. Orders without such an event are absent. '
    'Events that order_history has not been refreshed with are not in it; see projections.watermark.';

-- One order, in a few index probes on a stream of any length. Of the rows that stand, the last that begins by
-- "at" is the one that holds then. Where that was not known yet, it is what was superseded first after "known".
CREATE OR REPLACE FUNCTION order_as_of(order_id uuid, at timestamptz DEFAULT 'infinity', known timestamptz DEFAULT 'infinity')
    RETURNS SETOF orders LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT /* columns of orders */
      FROM (SELECT * FROM order_history s
             WHERE s.order_id = order_as_of.order_id AND s.recorded_to = 'infinity' AND s.valid_from <= at
             ORDER BY s.valid_from DESC LIMIT 1) standing,
           LATERAL (SELECT standing.* WHERE standing.recorded_from <= known
                    UNION ALL
                    (SELECT * FROM order_history s
                      WHERE standing.recorded_from > known AND s.order_id = order_as_of.order_id
                        AND s.recorded_to > known AND s.recorded_to < 'infinity'
                        AND s.valid_from <= at AND s.valid_to > least(at, '200000-01-01 00:00:00+00')
                      ORDER BY s.recorded_to LIMIT 1)) h
     WHERE h.recorded_from <= known;
END;

COMMENT ON FUNCTION order_as_of IS
    'orders_as_of() for one order: one row, or none where it had no event then.';

-- The table customers as it was at the end of any business day (UTC), from the history of the orders. Late
-- events correct past days; "known" asks for a day as it was known at a time.
CREATE OR REPLACE FUNCTION customers_as_of(day date, known timestamptz DEFAULT 'infinity')
    RETURNS SETOF customers LANGUAGE sql STABLE AS $$
    SELECT o.customer_id, o.currency, count(*)::int, sum(o.paid_amount - o.refunded_amount),
           min(o.placed_at), max(o.placed_at)
      FROM orders_as_of(business_time(start_of_day_ms(day + 1) - 1), known) o
     WHERE o.customer_id IS NOT NULL
     GROUP BY o.customer_id, o.currency;
$$;
COMMENT ON FUNCTION customers_as_of IS
    'customers at the end of a business day (UTC), by default as far as we know now. Events that order_history '
    'has not been refreshed with are not in it.';
