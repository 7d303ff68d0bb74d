-- Business days are UTC days. The arithmetic counts from year 1, the first that created_at may lie in.
CREATE FUNCTION business_day(ms bigint) RETURNS date LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN date '0001-01-01' + ((ms + 62135596800000) / 86400000)::int;

CREATE FUNCTION start_of_day_ms(day date) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (day - date '1970-01-01') * 86400000::bigint;
