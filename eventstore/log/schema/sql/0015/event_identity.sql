-- What an event is known by within the log, in 15 bytes: the beginning of its order, so that the identities of an
-- order lie together, and of orders that came one after the other too; and the first 11 bytes of SHA-256 over the
-- order, the length of the source, the source and the id. Two that differ and have the same value are refused.
-- Its values stand in indexes: it never changes.
CREATE FUNCTION event_identity(order_id uuid, source text, source_id text) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN substring(uuid_send(order_id), 1, 4)
           || substring(sha256(decode(
                  -- A text as its bytes: whatever follows a backslash would be an escape.
                  replace(order_id::text || octet_length(source)::text || ':' || source || source_id, '\', '\\'),
                  'escape')), 1, 11);
