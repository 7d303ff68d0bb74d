-- One order, in a few index probes on a stream of any length. Of the rows that stand, the last that begins by
-- "at" is the one that holds then. Where that was not known yet, it is what was superseded first after "known".
CREATE OR REPLACE FUNCTION order_as_of(order_id uuid, at timestamptz DEFAULT 'infinity', known timestamptz DEFAULT 'infinity')
    RETURNS SETOF orders LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT /* columns of orders */
      FROM (SELECT * FROM order_history s
             WHERE s.order_id = order_as_of.order_id AND s.recorded_to = 'infinity' AND s.valid_from <= at
             ORDER BY s.valid_from DESC LIMIT 1) standing,
           LATERAL (SELECT standing.* WHERE standing.recorded_from <= known
                    UNION ALL
                    (SELECT * FROM order_history s
                      WHERE standing.recorded_from > known AND s.order_id = order_as_of.order_id
                        AND s.recorded_to > known AND s.recorded_to < 'infinity'
                        AND s.valid_from <= at AND s.valid_to > least(at, '200000-01-01 00:00:00+00')
                      ORDER BY s.recorded_to LIMIT 1)) h
     WHERE h.recorded_from <= known;
END;

COMMENT ON FUNCTION order_as_of IS
    'orders_as_of() for one order: one row, or none where it had no event then.';
