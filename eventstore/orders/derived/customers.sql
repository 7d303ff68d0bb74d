-- Makes customers what orders says now: reads all of orders, writes only the rows that differ. So whatever
-- changed orders, be it new events, late ones or a promoted replay, customers follows.
WITH fresh AS (
    SELECT customer_id, currency, count(*)::int AS orders,
           sum(paid_amount - refunded_amount) AS lifetime_value,
           min(placed_at) AS first_order_at, max(placed_at) AS last_order_at
      FROM orders WHERE customer_id IS NOT NULL
     GROUP BY customer_id, currency
), gone AS (
    DELETE FROM customers c
     WHERE NOT EXISTS (SELECT FROM fresh f
                        WHERE f.customer_id = c.customer_id AND f.currency = c.currency)
    RETURNING 1
), written AS (
    INSERT INTO customers SELECT * FROM fresh EXCEPT SELECT * FROM customers
    ON CONFLICT (customer_id, currency) DO UPDATE
       SET orders = excluded.orders, lifetime_value = excluded.lifetime_value,
           first_order_at = excluded.first_order_at, last_order_at = excluded.last_order_at
    RETURNING 1
)
SELECT (SELECT count(*) FROM written), (SELECT count(*) FROM gone), watermark
  FROM projections WHERE name = 'orders'
