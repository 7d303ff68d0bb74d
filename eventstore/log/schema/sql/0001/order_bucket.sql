-- The bucket (partition number) of an order: PostgreSQL's own hash partitioning of a uuid, modulus 16.
CREATE FUNCTION order_bucket(order_id uuid) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (((uuid_hash_extended(order_id, 8816678312871386365) & 15) + 3) & 15)::int;
