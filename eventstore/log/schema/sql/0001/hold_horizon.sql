-- Step 1 of an append: announce, before any id is minted, the lowest millisecond that it can get.
-- The announcement is a shared advisory lock on (17747 << 48 | floor), held to the end of the transaction;
-- 17747 is 'ES'. Returns the floor.
CREATE FUNCTION hold_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    floor_ms bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'events can only be appended at isolation level READ COMMITTED, not %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'Concurrent writers of one order are kept apart by its version: '
                         'pass expected_version instead of raising the isolation level.';
    END IF;
    SELECT greatest(clock_ms(), published_ms + 1) INTO floor_ms FROM feed_horizon;
    -- A later append in the same transaction keeps the first, lower floor, or a long transaction would
    -- fill the lock table. A setting that somebody forged can only lower the floor, which is safe.
    floor_ms := least(floor_ms, nullif(current_setting('eventstore.floor_ms', true), '')::bigint);
    PERFORM pg_advisory_xact_lock_shared((17747::bigint << 48) | floor_ms);
    PERFORM set_config('eventstore.floor_ms', floor_ms::text, true);
    -- An append left open holds back every reader: end it, unless its owner chose another limit.
    IF current_setting('idle_in_transaction_session_timeout') = '0' THEN
        PERFORM set_config('idle_in_transaction_session_timeout', '60s', true);
    END IF;
    RETURN floor_ms;
END $$;
