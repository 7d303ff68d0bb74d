-- A temporary table for COPY, emptied at every commit. It belongs to the owner of the log, so that
-- append_staged() may trust it and a writer needs no right on the log itself.
CREATE FUNCTION open_staging() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER
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
