-- What payments add to daily_order_metrics, and to daily_payments: the new ones in the log, and those of orders
-- that came into quarantine since the last time, or out of it. As in orders, what comes after an event that cannot
-- be folded does not count.
--
-- revenue is the sum of the payments that happened on the UTC day, in their own currency; refunds are not taken
-- off, they are a column of their own, on the day of the refund. So a late event counts on the day on which it
-- happened. Payments never change, so they are only added once, and taken off while they are in quarantine.
WITH payments AS (
    SELECT e.created_at, e.event_type, e.event_data, 1 AS happened,
           CASE WHEN q.order_id IS NULL THEN 1 ELSE 0 END AS counts
      FROM order_events e
      LEFT JOIN quarantine q ON q.projection = 'orders' AND q.order_id = e.order_id
                            AND (e.created_at, e.version) >= (q.failed_at, q.version)
     WHERE e.id > %(after)s AND e.id <= %(until)s
       AND e.event_type IN ('OrderPaid', 'OrderRefunded')
    UNION ALL
    SELECT e.created_at, e.event_type, e.event_data, 0, -n.held
      FROM quarantined_payments_noted n
     CROSS JOIN LATERAL (SELECT * FROM order_events e
                          WHERE e.order_id = n.order_id AND (e.created_at, e.version) >= (n.failed_at, n.version)
                            AND e.id <= %(after)s AND e.event_type IN ('OrderPaid', 'OrderRefunded')) e
     WHERE n.held <> 0
), amounts AS (
    SELECT business_day(created_at) AS day, event_currency(event_data) AS currency, happened, counts,
           CASE event_type WHEN 'OrderPaid' THEN amount ELSE 0 END AS revenue,
           CASE event_type WHEN 'OrderRefunded' THEN amount ELSE 0 END AS refunds
      FROM payments, LATERAL (SELECT coalesce(event_amount(event_data), 0) + 0.00 AS amount) AS a
), summed AS (
    INSERT INTO daily_payments AS p
    SELECT day, currency, sum(revenue), sum(refunds) FROM amounts WHERE happened = 1 GROUP BY day, currency
    ON CONFLICT (day, currency) DO UPDATE
       SET revenue = p.revenue + excluded.revenue, refunds = p.refunds + excluded.refunds
)
INSERT INTO daily_order_metrics_noted (day, currency, created, paid, shipped, delivered, cancelled, revenue, refunds)
SELECT day, currency, 0, 0, 0, 0, 0, sum(counts * revenue), sum(counts * refunds) FROM amounts GROUP BY day, currency
