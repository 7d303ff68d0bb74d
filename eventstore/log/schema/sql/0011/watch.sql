-- What a watch outside the tables' own runs compares with, and how long Dagster keeps what it noted.
ALTER TABLE settings
    ADD COLUMN max_derived_lag  interval NOT NULL DEFAULT '20 minutes'
               CONSTRAINT max_derived_lag_is_between_1_second_and_1_day
               CHECK (max_derived_lag BETWEEN '1 second' AND '1 day'),
    ADD COLUMN max_snapshot_lag interval NOT NULL DEFAULT '26 hours'
               CONSTRAINT max_snapshot_lag_is_between_1_second_and_30_days
               CHECK (max_snapshot_lag BETWEEN '1 second' AND '30 days'),
    ADD COLUMN max_age          interval NOT NULL DEFAULT '1 hour'
               CONSTRAINT max_age_is_between_1_minute_and_30_days
               CHECK (max_age BETWEEN '1 minute' AND '30 days'),
    ADD COLUMN max_proof_age    interval NOT NULL DEFAULT '2 days'
               CONSTRAINT max_proof_age_is_between_1_hour_and_365_days
               CHECK (max_proof_age BETWEEN '1 hour' AND '365 days'),
    ADD COLUMN alert_warnings   boolean  NOT NULL DEFAULT true
               CONSTRAINT alert_warnings_is_true_or_false CHECK (alert_warnings IN (true, false)),
    ADD COLUMN keep_runs        interval NOT NULL DEFAULT '30 days'
               CONSTRAINT keep_runs_is_between_1_day_and_3650_days
               CHECK (keep_runs BETWEEN '1 day' AND '3650 days');
COMMENT ON COLUMN settings.max_derived_lag IS
    'for how long events may wait for a derived table, on top of its schedule, before its check lag warns';
COMMENT ON COLUMN settings.max_snapshot_lag IS
    'for how long events may wait for the snapshots, which are built each night, before their check lag warns';
COMMENT ON COLUMN settings.max_age IS
    'how old the last refresh of a table may be, even while nothing happens, before its check lag warns';
COMMENT ON COLUMN settings.max_proof_age IS
    'how old the last proof of the log and of its tables, made each night, may be before the check proof warns';
COMMENT ON COLUMN settings.alert_warnings IS
    'whether alerts tell of checks that warn, besides those that fail and of failed runs';
COMMENT ON COLUMN settings.keep_runs IS
    'for how long Dagster keeps runs with their logs, and ticks; what an asset or check shows last is kept for ever';
