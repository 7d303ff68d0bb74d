-- How many orders there are of each kind.
CREATE TABLE order_counts (
    facet   text NOT NULL,
    value   text NOT NULL,
    orders  bigint NOT NULL,
    PRIMARY KEY (facet, value)
);
COMMENT ON TABLE order_counts IS
    'How many orders are in each status, and how many have which anomaly or list which unknown event. SELECT value, orders FROM order_counts WHERE facet = ''status''';
COMMENT ON COLUMN order_counts.facet IS
    'status; anomaly; odd: whether the order has any anomaly; unknown_event: a type that the rules did not know';
COMMENT ON COLUMN order_counts.value IS 'which status, anomaly or type of event; yes where the order is odd';
