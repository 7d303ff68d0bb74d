-- Step 1 of a read, to be committed before step 2: from now on every append mints its ids above what is
-- returned. The newest committed id is covered, so a reader always sees what was committed before.
CREATE FUNCTION publish_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    published bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(17748, 0);  -- one at a time: the sequence must never be set lower
    published := coalesce(pg_sequence_last_value('feed_horizon'), 0);
    PERFORM setval('feed_horizon', greatest(
        published, clock_ms(), uuidv7_ms((SELECT id FROM order_events ORDER BY id DESC LIMIT 1))));
    -- What readers were shown must survive a crash, and one that does not commit holds up the other readers.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'local', true);
    END IF;
    IF current_setting('idle_in_transaction_session_timeout') = '0' THEN
        PERFORM set_config('idle_in_transaction_session_timeout', '60s', true);
    END IF;
    PERFORM set_config('eventstore.published_here', 'yes', true);
    RETURN pg_sequence_last_value('feed_horizon');
END $$;
