-- When the checks of the read models warn. A setting is documented by its comment, and its constraint says by its
-- name what is demanded: the command and the reference are made from both.
ALTER TABLE settings
    ADD COLUMN max_lag        interval NOT NULL DEFAULT '2 minutes'
               CONSTRAINT max_lag_is_between_1_second_and_1_day CHECK (max_lag BETWEEN '1 second' AND '1 day'),
    ADD COLUMN max_file_wait  interval NOT NULL DEFAULT '10 minutes'
               CONSTRAINT max_file_wait_is_between_1_second_and_30_days
               CHECK (max_file_wait BETWEEN '1 second' AND '30 days'),
    ADD COLUMN max_odd_share  numeric NOT NULL DEFAULT 0.1
               CONSTRAINT max_odd_share_is_between_0_and_1 CHECK (max_odd_share BETWEEN 0 AND 1);
COMMENT ON COLUMN settings.max_lag IS
    'for how long events may wait for a projection before its check lag warns';
COMMENT ON COLUMN settings.max_file_wait IS
    'for how long a file may wait in the landing folder before the check files_left warns';
COMMENT ON COLUMN settings.max_odd_share IS
    'the share of orders with anomalies above which the check anomalies warns: 0.1 is one in ten';
COMMENT ON TABLE settings IS
    'Settings of this store, a column each, in one row: see the comments. `eventstore settings` lists and sets them.';
