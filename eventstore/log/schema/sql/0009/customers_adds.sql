-- An order, to its customer.
SELECT customer_id, currency, 1 AS orders, paid_amount - refunded_amount AS lifetime_value
  FROM changed WHERE placed_at IS NOT NULL
