-- Daily: the state at the end of a business day of each order that changed on it. All rows hold the events up
-- to one watermark, that of the projection 'order_snapshots': events above it may make rows stale.
--
-- A row is the fold of the order's events up to a position (until_at, until_version) in the order of the fold,
-- here the end of the day.
CREATE TABLE order_snapshots (
    day            date   NOT NULL,
    until_at       bigint NOT NULL,
    until_version  int    NOT NULL,
    events         int    NOT NULL,
    LIKE orders,
    PRIMARY KEY (order_id, day)
);
CREATE INDEX order_snapshots_day ON order_snapshots (day);
CREATE INDEX order_snapshots_with_unknown_events ON order_snapshots (order_id) WHERE unknown_events <> '{}';
COMMENT ON TABLE order_snapshots IS
    'The state at the end of each built business day (UTC) of every order with an event on that day.';
COMMENT ON COLUMN order_snapshots.until_at IS 'the last millisecond of the day';
COMMENT ON COLUMN order_snapshots.events IS
    'how many events the row holds; fewer than its version says where some of those happened later';
COMMENT ON COLUMN order_snapshots.fold_version IS 'the rules that folded the row';

-- The days that were built: a row per day, also for a day on which nothing happened.
CREATE TABLE order_snapshot_days (
    day           date PRIMARY KEY,
    fold_version  text NOT NULL,
    built_at      timestamptz NOT NULL DEFAULT now()
);

-- Long streams only: the state after every hundredth event or so between two snapshots, whatever the day.
CREATE TABLE order_checkpoints (
    LIKE order_snapshots INCLUDING COMMENTS,
    PRIMARY KEY (order_id, until_at, until_version)
);
CREATE INDEX order_checkpoints_with_unknown_events ON order_checkpoints (order_id) WHERE unknown_events <> '{}';
