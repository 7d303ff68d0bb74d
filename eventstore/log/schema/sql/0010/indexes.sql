-- The first and the last order of a customer are found without reading the others.
DROP INDEX orders_customer;
CREATE INDEX orders_customer ON orders (customer_id, currency, placed_at);
