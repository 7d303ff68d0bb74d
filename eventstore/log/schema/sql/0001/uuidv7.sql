-- RFC 9562 uuidv7 with method 1: 48 bits of milliseconds, a 26-bit counter, 48 random bits.
-- random() is no secret but fast: gen_random_uuid() costs more than the rest of an id, one system call each.
CREATE FUNCTION uuidv7_at(ms bigint, counter int) RETURNS uuid LANGUAGE sql VOLATILE
    RETURN (lpad(to_hex((ms << 16) | (7 << 12) | (counter >> 14)), 16, '0')
            || to_hex((-1::bigint << 63) | ((counter & 16383)::bigint << 48)
                      | (random() * 281474976710655)::bigint))::uuid;

CREATE FUNCTION uuidv7_ms(id uuid) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ('x' || left(id::text, 8) || substr(id::text, 10, 4))::bit(48)::bigint;

CREATE FUNCTION uuidv7_counter(id uuid) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (('x' || substr(id::text, 16, 3))::bit(12)::int << 14)
           | (('x' || substr(id::text, 20, 4))::bit(16)::int & 16383);

-- The highest id that millisecond ms can hold.
CREATE FUNCTION uuidv7_ceiling(ms bigint) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (lpad(to_hex(ms), 12, '0') || '7fffbfffffffffffffff')::uuid;

-- When an event was recorded, from its id.
CREATE FUNCTION recorded_at(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN timestamptz '1970-01-01 00:00:00+00' + uuidv7_ms(id) * interval '1 millisecond';

-- Milliseconds of business time as a timestamp.
CREATE FUNCTION business_time(ms bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN timestamptz '1970-01-01 00:00:00+00' + ms * interval '1 millisecond';
