-- The first and the last order of a customer are found without reading the others.
DROP INDEX orders_customer;
CREATE INDEX orders_customer ON orders (customer_id, currency, placed_at);

-- The events of a business day, for its snapshots, without reading the others: a megabyte for ten million events.
CREATE INDEX order_events_created_at ON order_events USING brin (created_at)
    WITH (pages_per_range = 16, autosummarize = on);
