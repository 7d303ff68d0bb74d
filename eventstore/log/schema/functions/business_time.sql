-- An ISO 8601 string (without zone: UTC) in milliseconds.
CREATE OR REPLACE FUNCTION iso_8601_ms(created_at jsonb) RETURNS bigint LANGUAGE plpgsql STABLE STRICT
    SET timezone = 'UTC' AS $$
DECLARE
    given CONSTANT text := created_at #>> '{}';
BEGIN
    IF jsonb_typeof(created_at) = 'string' AND given ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}' THEN
        RETURN floor(extract(epoch FROM given::timestamptz) * 1000)::bigint;
    END IF;
    RAISE invalid_datetime_format;
EXCEPTION
    WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_parameter_value THEN
        RAISE EXCEPTION 'created_at % is not a time', left(created_at::text, 100)
            USING ERRCODE = 'invalid_datetime_format',
                  HINT = 'Give whole milliseconds since 1970 as a number, or an ISO 8601 string '
                         'such as "2026-03-03T12:00:00Z".';
END $$;

-- A created_at as a client may send it, JSON number (ms), ISO 8601 string or null, in milliseconds.
CREATE OR REPLACE FUNCTION business_ms(created_at jsonb) RETURNS bigint LANGUAGE sql STABLE
    RETURN CASE WHEN jsonb_typeof(created_at) = 'number' AND length(created_at::text) <= 15 THEN created_at::bigint
                ELSE iso_8601_ms(nullif(created_at, 'null')) END;

-- Business days are UTC days. The arithmetic counts from year 1, the first that created_at may lie in.
CREATE OR REPLACE FUNCTION business_day(ms bigint) RETURNS date LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN date '0001-01-01' + ((ms + 62135596800000) / 86400000)::int;

CREATE OR REPLACE FUNCTION start_of_day_ms(day date) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (day - date '1970-01-01') * 86400000::bigint;
