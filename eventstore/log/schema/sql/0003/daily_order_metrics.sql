-- What happened to orders on each business day (UTC). Computed by refresh_daily_metrics().
CREATE TABLE daily_order_metrics (
    day        date NOT NULL,
    currency   text NOT NULL,
    created    int NOT NULL,
    paid       int NOT NULL,
    shipped    int NOT NULL,
    delivered  int NOT NULL,
    cancelled  int NOT NULL,
    revenue    decimal(18,2) NOT NULL,
    refunds    decimal(18,2) NOT NULL,
    PRIMARY KEY (day, currency)
);
COMMENT ON TABLE daily_order_metrics IS
    'One row per business day (UTC) and currency on which anything happened. A late event corrects the day on which '
    'it happened, and the day on which something was wrongly believed to have happened.';
COMMENT ON COLUMN daily_order_metrics.currency IS
    'of created … cancelled: the order''s; of revenue and refunds: the payment''s. XXX (ISO 4217: no currency) '
    'while it is not known, for example of an order that was shipped before it was created';
COMMENT ON COLUMN daily_order_metrics.created IS 'orders placed on this day (orders.placed_at)';
COMMENT ON COLUMN daily_order_metrics.paid IS 'orders with their first payment on this day (orders.paid_at)';
COMMENT ON COLUMN daily_order_metrics.shipped IS 'orders first shipped on this day (orders.shipped_at)';
COMMENT ON COLUMN daily_order_metrics.delivered IS 'orders first delivered on this day (orders.delivered_at)';
COMMENT ON COLUMN daily_order_metrics.cancelled IS 'orders cancelled on this day (orders.cancelled_at)';
COMMENT ON COLUMN daily_order_metrics.revenue IS
    'the sum of all payments (OrderPaid) that happened on this day; nothing is taken off it';
COMMENT ON COLUMN daily_order_metrics.refunds IS
    'the sum of all refunds (OrderRefunded) that happened on this day, whenever the order was paid';
