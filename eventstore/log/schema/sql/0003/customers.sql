-- What each customer has ordered and paid so far. Computed from orders by refresh_customers().
CREATE TABLE customers (
    customer_id     uuid NOT NULL,
    currency        text NOT NULL,
    orders          int NOT NULL,
    lifetime_value  decimal(18,2) NOT NULL,
    first_order_at  timestamptz NOT NULL,
    last_order_at   timestamptz NOT NULL,
    PRIMARY KEY (customer_id, currency)
);
COMMENT ON TABLE customers IS
    'One row per customer and currency, for amounts in different currencies have no sum. customers_as_of() answers for any day.';
COMMENT ON COLUMN customers.orders IS 'orders placed, those cancelled later included';
COMMENT ON COLUMN customers.lifetime_value IS 'all that was paid for these orders minus all that was refunded';
COMMENT ON COLUMN customers.first_order_at IS 'when the first of them was placed (business time)';
COMMENT ON COLUMN customers.last_order_at IS 'when the last of them was placed (business time)';

CREATE INDEX orders_customer ON orders (customer_id);
