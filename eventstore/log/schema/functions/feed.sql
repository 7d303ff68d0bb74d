-- Step 1 of a read, to be committed before step 2: from now on every append mints its ids above what is
-- returned. The newest committed id is covered, so a reader always sees what was committed before; but an id
-- that lies more than a minute ahead of the clock, and of what was published, moves nothing: its event waits
-- until the clock is there. (After a clock went back, all new ids lie ahead of it, next to what was published.)
-- Replicas are told (note_horizon). On a replica nothing is published: it returns the horizon that it knows.
CREATE OR REPLACE FUNCTION publish_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    least_ms  bigint;  -- to be published whatever is stored
    newest    uuid;
    holder    record;
BEGIN
    IF is_replica() THEN
        RETURN replica_horizon_ms();
    ELSIF current_setting('eventstore.home', true) IS DISTINCT FROM pg_backend_pid()::text THEN
        PERFORM settle_epoch();
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
             WHERE l.relation = 'horizon_publishing'::regclass AND l.granted AND l.mode <> 'AccessShareLock'
               -- A copy of this database has a table of the same number.
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             ORDER BY a.xact_start LIMIT 1;
            RAISE EXCEPTION 'the horizon could not be published for 10 s: pid % (%, %) holds horizon_publishing since %',
                holder.pid, holder.usename, holder.application_name, holder.xact_start
                USING ERRCODE = 'lock_not_available',
                      HINT = format('End that session: SELECT pg_terminate_backend(%s)', holder.pid);
    END;
    -- What readers were shown must survive a crash.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'local', true);
    END IF;
    PERFORM note_horizon();
    PERFORM set_config('eventstore.published_here', 'yes', true);
    RETURN pg_sequence_last_value('feed_horizon');
END $$;

-- Step 2 of a read: the millisecond up to which the feed is complete and will never change.
-- Call it in a statement of its own: the rows must be read by a later one, in a later snapshot. On a replica the
-- snapshot that shows the horizon shows the rows too.
CREATE OR REPLACE FUNCTION horizon_ms() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    published bigint;
BEGIN
    IF is_replica() THEN
        RETURN replica_horizon_ms();
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
    IF current_setting('eventstore.home', true) IS DISTINCT FROM pg_backend_pid()::text THEN
        PERFORM check_home();
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

COMMENT ON FUNCTION publish_horizon IS
    'Step 1 of reading the feed, to be committed before step 2, read_events()';
COMMENT ON FUNCTION read_events IS
    'Step 2 of reading the feed: up to max_events events behind the id "after" (null: from the beginning), each exactly once, in the order of their ids';
