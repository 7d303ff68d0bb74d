-- The server's clock in milliseconds since 1970. No guarantee of the log rests on it.
CREATE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE
    RETURN floor(date_part('epoch', clock_timestamp()) * 1000)::bigint;
