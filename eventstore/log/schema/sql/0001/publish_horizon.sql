-- Step 1 of a read, to be committed before step 2: from now on every append mints its ids above what is
-- returned. The newest committed id is covered, so a reader always sees what was committed before.
CREATE FUNCTION publish_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    published bigint;
BEGIN
    UPDATE feed_horizon
       SET published_ms = greatest(published_ms, clock_ms(),
                                   uuidv7_ms((SELECT id FROM order_events ORDER BY id DESC LIMIT 1)))
    RETURNING published_ms INTO published;
    PERFORM set_config('eventstore.published_here', 'yes', true);
    RETURN published;
END $$;
