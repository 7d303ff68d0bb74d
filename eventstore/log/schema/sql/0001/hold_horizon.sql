-- Step 1 of an append: announce, before any id is minted, the lowest millisecond that it can get: the floor.
-- The announcement is a shared advisory lock on (17747 << 48 | floor), held to the end of the transaction;
-- 17747 is 'ES'. Returns the millisecond to mint ids at, or above: it is higher than what was published before
-- the lock was there, and whoever publishes later sees the lock.
CREATE FUNCTION hold_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now_ms   CONSTANT bigint := clock_ms();
    -- A later append in the same transaction keeps the first, lower floor, or a long transaction would fill the
    -- lock table. A setting that somebody forged can only lower the floor, which is safe.
    floor_ms CONSTANT bigint := greatest(1, least(
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
    IF NOT pg_try_advisory_xact_lock_shared((17747::bigint << 48) | floor_ms) THEN
        PERFORM pg_advisory_xact_lock_shared((17747::bigint << 48) | floor_ms);
    END IF;
    settings := set_config('eventstore.floor_ms', floor_ms::text, true)
             -- An append left open holds back every reader: end it, unless its owner chose another limit.
             || CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
                     THEN set_config('idle_in_transaction_session_timeout', '60s', true) END;
    RETURN greatest(now_ms, floor_ms, pg_sequence_last_value('feed_horizon') + 1);
END $$;
