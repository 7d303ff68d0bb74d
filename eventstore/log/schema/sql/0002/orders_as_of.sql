-- Inlined into the query that calls it, so that its WHERE and joins reach the indexes.
CREATE FUNCTION orders_as_of(at timestamptz, known timestamptz DEFAULT now())
    RETURNS SETOF orders LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT h.order_id, h.customer_id, h.amount, h.currency, h.status, h.paid_amount, h.refunded_amount,
           h.placed_at, h.paid_at, h.shipped_at, h.delivered_at, h.cancelled_at, h.refunded_at,
           h.version, h.last_event_id, h.last_event_at, h.anomalies, h.unknown_events, h.fold_version
      FROM order_history h
     WHERE h.valid_from <= at AND h.recorded_from <= known
       -- The bound is above all times that can be recorded: asked for 'infinity', what never ended is found.
       AND h.valid_to > least(at, '200000-01-01 00:00:00+00')
       AND h.recorded_to > least(known, '200000-01-01 00:00:00+00');
END;

COMMENT ON FUNCTION orders_as_of IS
    'All orders as they were at the business time "at", as we knew it at the recorded time "known": the fold of '
    'the events with created_at <= at that were recorded <= known. Orders without such an event are absent. '
    'Events that order_history has not been refreshed with are not in it; see projections.watermark.';
