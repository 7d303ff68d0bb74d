-- The customers that changed: what was added to their orders, and which are the first and the last of them now.
SELECT c.customer_id, c.currency,
       coalesce(o.orders, 0) + c.orders AS orders,
       coalesce(o.lifetime_value, 0) + c.lifetime_value AS lifetime_value,
       (SELECT min(placed_at) FROM orders
         WHERE customer_id = c.customer_id AND currency = c.currency) AS first_order_at,
       (SELECT max(placed_at) FROM orders
         WHERE customer_id = c.customer_id AND currency = c.currency) AS last_order_at
  FROM changed_groups c
  LEFT JOIN customers o ON o.customer_id = c.customer_id AND o.currency = c.currency
 WHERE coalesce(o.orders, 0) + c.orders <> 0  -- fewer than none, and no first order, is refused
