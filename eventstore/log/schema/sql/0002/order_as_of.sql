-- One order, in a few index probes on a stream of any length. Of the rows that stand, the last that begins by
-- "at" is the one that holds then. Where that was not known yet, it is what was superseded first after "known".
CREATE FUNCTION order_as_of(order_id uuid, at timestamptz DEFAULT now(), known timestamptz DEFAULT now())
    RETURNS SETOF orders LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT h.order_id, h.customer_id, h.amount, h.currency, h.status, h.paid_amount, h.refunded_amount,
           h.placed_at, h.paid_at, h.shipped_at, h.delivered_at, h.cancelled_at, h.refunded_at,
           h.version, h.last_event_id, h.last_event_at, h.anomalies, h.unknown_events, h.fold_version
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
