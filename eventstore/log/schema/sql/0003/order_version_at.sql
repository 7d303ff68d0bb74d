-- The version that an order had when the feed stood at an id: within an order ids rise with versions, which
-- have no gaps, so a few probes of the primary key find it however long the stream is.
CREATE FUNCTION order_version_at(order_id uuid, id uuid) RETURNS int LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    lowest  int := 0;
    highest int;
    middle  int;
BEGIN
    SELECT e.version INTO highest FROM order_events e
     WHERE e.order_id = order_version_at.order_id ORDER BY e.version DESC LIMIT 1;
    middle := highest;  -- most questions are about the recent past: look at the end first
    WHILE lowest < highest LOOP
        IF (SELECT e.id FROM order_events e
             WHERE e.order_id = order_version_at.order_id AND e.version = middle) <= order_version_at.id THEN
            lowest := middle;
        ELSE
            highest := middle - 1;
        END IF;
        middle := (lowest + highest + 1) / 2;
    END LOOP;
    RETURN lowest;
END $$;
