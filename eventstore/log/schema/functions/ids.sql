-- The server's clock in milliseconds since 1970. No guarantee of the log rests on it.
CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE
    RETURN floor(date_part('epoch', clock_timestamp()) * 1000)::bigint;

-- RFC 9562 uuidv7 with method 1: 48 bits of milliseconds, a 26-bit counter, 48 random bits.
-- random() is no secret but fast: gen_random_uuid() costs more than the rest of an id, one system call each.
-- With the process id in it, sessions that called setseed() alike still differ.
CREATE OR REPLACE FUNCTION uuidv7_at(ms bigint, counter int) RETURNS uuid LANGUAGE sql VOLATILE
    RETURN (lpad(to_hex((ms << 16) | (7 << 12) | (counter >> 14)), 16, '0')
            || to_hex((-1::bigint << 63) | ((counter & 16383)::bigint << 48)
                      | ((random() * 281474976710655)::bigint # pg_backend_pid())))::uuid;

CREATE OR REPLACE FUNCTION uuidv7_ms(id uuid) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ('x' || left(id::text, 8) || substr(id::text, 10, 4))::bit(48)::bigint;

CREATE OR REPLACE FUNCTION uuidv7_counter(id uuid) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (('x' || substr(id::text, 16, 3))::bit(12)::int << 14)
           | (('x' || substr(id::text, 20, 4))::bit(16)::int & 16383);

-- The next id above last, not before ms.
CREATE OR REPLACE FUNCTION uuidv7_after(last uuid, ms bigint) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF uuidv7_ms(last) < ms THEN
        RETURN uuidv7_at(ms, 0);
    ELSIF uuidv7_counter(last) < (1 << 26) - 1 THEN
        RETURN uuidv7_at(uuidv7_ms(last), uuidv7_counter(last) + 1);
    END IF;
    RETURN uuidv7_at(uuidv7_ms(last) + 1, 0);
END $$;

-- The highest id that millisecond ms can hold.
CREATE OR REPLACE FUNCTION uuidv7_ceiling(ms bigint) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (lpad(to_hex(ms), 12, '0') || '7fffbfffffffffffffff')::uuid;

-- The lowest id that millisecond ms can hold.
CREATE OR REPLACE FUNCTION uuidv7_lowest(ms bigint) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (lpad(to_hex(ms), 12, '0') || '70008000000000000000')::uuid;

-- When an event was recorded, from its id.
CREATE OR REPLACE FUNCTION recorded_at(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN timestamptz '1970-01-01 00:00:00+00' + uuidv7_ms(id) * interval '1 millisecond';

-- Milliseconds of business time as a timestamp.
CREATE OR REPLACE FUNCTION business_time(ms bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN timestamptz '1970-01-01 00:00:00+00' + ms * interval '1 millisecond';

-- How many buckets the log has: as many as order_events has partitions when the functions are created.
CREATE OR REPLACE FUNCTION log_buckets() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN /* buckets */ 16;

-- The bucket (partition number) of an order: PostgreSQL's own hash partitioning of a uuid. To the hash, 64 bits, it adds
-- a number whose last 8 bits are 227, and takes the remainder; of a power of two up to 256 the last 8 bits tell it.
CREATE OR REPLACE FUNCTION order_bucket(order_id uuid) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (((uuid_hash_extended(order_id, 8816678312871386365) & 255) + 227) & (log_buckets() - 1))::int;

COMMENT ON FUNCTION log_buckets IS 'How many buckets the log is split into, each order in one of them';
COMMENT ON FUNCTION recorded_at IS
    'When an event was recorded, from its id';
COMMENT ON FUNCTION business_time IS 'Milliseconds of business time (created_at) as a timestamp';
