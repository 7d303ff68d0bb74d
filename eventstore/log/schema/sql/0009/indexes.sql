-- The first and the last order of a customer are found without reading the others.
DROP INDEX orders_customer;
CREATE INDEX orders_customer ON orders (customer_id, currency, placed_at);

-- The events of a business day, for its snapshots, without reading the others: half a byte an event. Late events lie
-- among those of other days, hence several intervals for each range of pages.
CREATE INDEX order_events_created_at ON order_events USING brin (created_at int8_minmax_multi_ops)
    WITH (pages_per_range = 16, autosummarize = on);
