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
    IF octet_length(written) > 1048576 THEN
        RETURN format('its data and metadata have %s bytes as JSON, more than 1048576', octet_length(written));
    END IF;
    -- Nothing is nested deeper than it has brackets, and a number out of range is long.
    IF octet_length(written) - octet_length(replace(replace(written, '{', ''), '[', '')) > 100
       AND (event_data @? 'strict $.**{100} ? (@.type() == "object" || @.type() == "array")'
            OR metadata @? 'strict $.**{100} ? (@.type() == "object" || @.type() == "array")') THEN
        RETURN 'its data or metadata is nested deeper than 100 levels';
    END IF;
    IF octet_length(written) > 300 AND written ~ '[0-9]{200}' THEN
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
