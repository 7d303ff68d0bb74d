-- What the log takes as the payload of an event of orders (schema/functions/payload.sql says who asks when).
-- An amount has one form: a decimal string that fits DECIMAL(10,2) exactly. It is never rounded.
CREATE OR REPLACE FUNCTION payload_problem(event_type text, event_data jsonb, metadata jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        -- Nearly every amount looks like this, which is found out fast.
        WHEN event_data @@ 'strict $.amount like_regex "^[0-9]+[.][0-9][0-9]$"'
             AND length(event_data ->> 'amount') <= 11 THEN NULL
        WHEN event_data @@ '!exists($.amount) || $.amount.type() == "string"
                            && $.amount like_regex "^-?[0-9]{1,8}([.][0-9]{1,2}0*)?$"' THEN NULL
        -- Payload version 1 counted integer cents.
        WHEN jsonb_typeof(event_data -> 'amount') = 'number' AND metadata ->> 'schema_version' IS NOT DISTINCT FROM '1'
             AND event_data ->> 'amount' ~ '^-?[0-9]{1,10}$' THEN NULL
        ELSE 'its amount ' || left((event_data -> 'amount')::text, 40)
             || ' is not a decimal string that fits DECIMAL(10,2) exactly, such as "12.50": at most 8 digits before '
                'the point and 2 after it'
    END;

CREATE OR REPLACE FUNCTION new_payload_problem(event_type text, event_data jsonb, metadata jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN length(event_data ->> 'amount') > 20 AND jsonb_typeof(event_data -> 'amount') = 'string'
        THEN 'its amount "' || left(event_data ->> 'amount', 20) || '… has more than 20 characters'
    END;
