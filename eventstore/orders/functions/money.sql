-- The amount of money that the payload of an event names; null where it names none in the form that the log
-- takes. Payloads of version 1 count integer cents. Never fails: what follows two decimals can only be zeros.
CREATE OR REPLACE FUNCTION event_amount(event_data jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE jsonb_typeof(event_data -> 'amount')
               WHEN 'number' THEN
                   CASE WHEN event_data ->> 'amount' ~ '^-?[0-9]{1,10}$'
                        THEN (event_data ->> 'amount')::numeric * 0.01 END
               WHEN 'string' THEN
                   CASE WHEN event_data ->> 'amount' ~ '^-?[0-9]{1,8}(\.[0-9]{1,2}0*)?$'
                        THEN substring(event_data ->> 'amount' FROM '^-?[0-9]{1,8}(?:\.[0-9]{1,2})?')::numeric END
           END;

-- The currency of a payment; XXX where it names none that an order could have.
CREATE OR REPLACE FUNCTION event_currency(event_data jsonb) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN event_data ->> 'currency' ~ '^[A-Z]{3}$' THEN event_data ->> 'currency' ELSE 'XXX' END;
