-- The amount of money that the payload of an event names; null where it names none. Payloads of version 1
-- count integer cents.
CREATE OR REPLACE FUNCTION event_amount(event_data jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE jsonb_typeof(event_data -> 'amount')
               WHEN 'number' THEN (event_data ->> 'amount')::numeric / 100
               WHEN 'string' THEN (event_data ->> 'amount')::numeric
           END;
