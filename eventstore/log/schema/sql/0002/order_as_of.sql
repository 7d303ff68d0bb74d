-- One order, fast on a stream of any length: of the rows that stand, the last that begins by then is the only
-- candidate; rows that no longer stand are tried where it was not known yet.
CREATE FUNCTION order_as_of(order_id uuid, at timestamptz DEFAULT now(), known timestamptz DEFAULT now())
    RETURNS SETOF orders LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT h.order_id, h.customer_id, h.amount, h.currency, h.status, h.paid_amount, h.refunded_amount,
           h.placed_at, h.paid_at, h.shipped_at, h.delivered_at, h.cancelled_at, h.refunded_at,
           h.version, h.last_event_id, h.last_event_at, h.anomalies, h.unknown_events, h.fold_version
      FROM ((SELECT * FROM order_history standing
              WHERE standing.order_id = order_as_of.order_id AND standing.recorded_to = 'infinity'
                AND standing.valid_from <= at
              ORDER BY standing.valid_from DESC LIMIT 1)
            UNION ALL
            (SELECT * FROM order_history superseded
              WHERE superseded.order_id = order_as_of.order_id
                AND superseded.recorded_to > known AND superseded.recorded_to < 'infinity'
                AND superseded.recorded_from <= known
                AND superseded.valid_from <= at
                AND superseded.valid_to > least(at, '200000-01-01 00:00:00+00')
              ORDER BY superseded.recorded_to LIMIT 1)) h
     WHERE h.recorded_from <= known
     LIMIT 1;
END;

COMMENT ON FUNCTION order_as_of IS
    'orders_as_of() for one order: one row, or none where it had no event then.';
