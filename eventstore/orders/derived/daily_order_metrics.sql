-- Makes daily_order_metrics what orders, and the payments in the log up to its watermark, say now.
--
-- created, paid, shipped, delivered, cancelled: the orders to which that happened on the day, by the lifecycle
-- times in orders (the first time counts), in the currency of the order. revenue: the sum of the payments that
-- happened on the day, in their own currency; refunds are not taken off, they are a column of their own, on the
-- day of the refund. As in orders, what comes after an event that cannot be folded does not count.
--
-- The day is always the UTC day of the business time, so a late event corrects the past: it counts on the day on
-- which it happened, and an order that it moves (paid earlier than was thought) is no longer counted on the
-- other day. The counts read all of orders, the sums only new events.
WITH basis AS (
    SELECT watermark FROM projections WHERE name = 'orders'
), counts AS (
    SELECT (at AT TIME ZONE 'UTC')::date AS day, coalesce(currency, 'XXX') AS currency,
           count(*) FILTER (WHERE what = 'created')::int AS created,
           count(*) FILTER (WHERE what = 'paid')::int AS paid,
           count(*) FILTER (WHERE what = 'shipped')::int AS shipped,
           count(*) FILTER (WHERE what = 'delivered')::int AS delivered,
           count(*) FILTER (WHERE what = 'cancelled')::int AS cancelled
      FROM orders, LATERAL (VALUES
               ('created', placed_at), ('paid', paid_at), ('shipped', shipped_at),
               ('delivered', delivered_at), ('cancelled', cancelled_at)) AS fact (what, at)
     WHERE at IS NOT NULL
     GROUP BY 1, 2
), news AS (  -- payments never change: the new ones are added to the sums that stand
    SELECT business_day(e.created_at) AS day, event_currency(e.event_data) AS currency,
           coalesce(sum(amount) FILTER (WHERE e.event_type = 'OrderPaid'), 0) AS revenue,
           coalesce(sum(amount) FILTER (WHERE e.event_type = 'OrderRefunded'), 0) AS refunds
      FROM basis, order_events e, LATERAL (SELECT event_amount(e.event_data) AS amount) AS payment
     WHERE e.id > %(after)s AND e.id <= basis.watermark
       AND e.event_type IN ('OrderPaid', 'OrderRefunded')
     GROUP BY 1, 2
), summed AS (
    INSERT INTO daily_payments AS p SELECT * FROM news
    ON CONFLICT (day, currency) DO UPDATE
       SET revenue = p.revenue + excluded.revenue, refunds = p.refunds + excluded.refunds
), payments AS (  -- all that there are, minus those that were not folded: from an event on that fails
    SELECT day, currency, sum(revenue) AS revenue, sum(refunds) AS refunds FROM (
        SELECT day, currency, revenue, refunds FROM daily_payments
        UNION ALL SELECT day, currency, revenue, refunds FROM news
        UNION ALL
        SELECT business_day(e.created_at), event_currency(e.event_data),
               CASE e.event_type WHEN 'OrderPaid' THEN -event_amount(e.event_data) END,
               CASE e.event_type WHEN 'OrderRefunded' THEN -event_amount(e.event_data) END
          FROM quarantine q, basis, order_events e
         WHERE q.projection = 'orders' AND e.order_id = q.order_id
           AND (e.created_at, e.version) >= (q.failed_at, q.version) AND e.id <= basis.watermark
           AND e.event_type IN ('OrderPaid', 'OrderRefunded')) each
     GROUP BY 1, 2
), fresh AS (
    SELECT * FROM (
        SELECT day, currency, coalesce(c.created, 0) AS created, coalesce(c.paid, 0) AS paid,
               coalesce(c.shipped, 0) AS shipped, coalesce(c.delivered, 0) AS delivered,
               coalesce(c.cancelled, 0) AS cancelled,
               coalesce(p.revenue, 0) + 0.00 AS revenue, coalesce(p.refunds, 0) + 0.00 AS refunds
          FROM payments p
          FULL JOIN counts c USING (day, currency)) f
     WHERE (created, paid, shipped, delivered, cancelled, revenue, refunds) <> (0, 0, 0, 0, 0, 0, 0)
), gone AS (
    DELETE FROM daily_order_metrics d
     WHERE NOT EXISTS (SELECT FROM fresh f WHERE f.day = d.day AND f.currency = d.currency)
    RETURNING 1
), written AS (
    INSERT INTO daily_order_metrics SELECT * FROM fresh EXCEPT SELECT * FROM daily_order_metrics
    ON CONFLICT (day, currency) DO UPDATE
       SET created = excluded.created, paid = excluded.paid, shipped = excluded.shipped,
           delivered = excluded.delivered, cancelled = excluded.cancelled,
           revenue = excluded.revenue, refunds = excluded.refunds
    RETURNING 1
)
SELECT (SELECT count(*) FROM written), (SELECT count(*) FROM gone), watermark FROM basis
