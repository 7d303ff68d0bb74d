-- The current state of each order: the fold of its events by (created_at, version). Written by the projection only.
CREATE TABLE orders (
    order_id         uuid PRIMARY KEY,
    customer_id      uuid,
    amount           decimal(10,2),
    currency         text,
    status           text NOT NULL,
    paid_amount      decimal(12,2) NOT NULL,
    refunded_amount  decimal(12,2) NOT NULL,
    placed_at        timestamptz,
    paid_at          timestamptz,
    shipped_at       timestamptz,
    delivered_at     timestamptz,
    cancelled_at     timestamptz,
    refunded_at      timestamptz,
    version          int NOT NULL,
    last_event_id    uuid NOT NULL,
    last_event_at    timestamptz NOT NULL,
    anomalies        text[] NOT NULL,
    unknown_events   text[] NOT NULL,
    fold_version     text
) WITH (fillfactor = 80);  -- room for the next version of a row in its page: no index is touched then
CREATE INDEX orders_with_unknown_events ON orders (order_id) WHERE unknown_events <> '{}';

COMMENT ON COLUMN orders.customer_id IS 'null until OrderCreated is here';
COMMENT ON COLUMN orders.version IS 'the version of the order''s events that this row holds';
COMMENT ON COLUMN orders.unknown_events IS
    'event types of newer writers that the rules did not know; the order is folded again once they do';
COMMENT ON COLUMN orders.fold_version IS 'null: the rules that the projections row names; else the rules of this row';
COMMENT ON COLUMN orders.last_event_at IS 'business time of the latest event folded';
