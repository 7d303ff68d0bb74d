-- Step 2 of a read: the millisecond up to which the feed is complete and will never change.
-- Call it in a statement of its own: the rows must be read by a later one, in a later snapshot.
CREATE FUNCTION horizon_ms() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
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
        SELECT min(((l.classid::bigint & 65535) << 32) | l.objid::bigint) - 1
          FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.objsubid = 1
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND l.classid::bigint >> 16 = 17747));
END $$;
