-- The histories of this log. A restore, or the promotion of a replica, begins one that may lack events which readers
-- of the one before were given. The first epoch has no row.
CREATE TABLE log_epochs (
    epoch       int PRIMARY KEY CHECK (epoch > 1),
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_id     uuid NOT NULL,
    horizon_ms  bigint NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('promotion', 'restore')),
    reason      text NOT NULL CHECK (reason <> ''),
    declared_by text
);
COMMENT ON TABLE log_epochs IS 'The histories of this log, from the second on: begun by a restore or a promotion.';
COMMENT ON COLUMN log_epochs.last_id IS
    'up to here the log is the same as in the epoch before; what lies above may have been lost, or is of this epoch';
COMMENT ON COLUMN log_epochs.horizon_ms IS 'ids of this epoch lie above this millisecond';
COMMENT ON COLUMN log_epochs.kind IS
    'restore: the whole database went back, with the watermarks of its consumers; promotion: a replica took over';
COMMENT ON COLUMN log_epochs.declared_by IS 'who said so; null: it was found out';

ALTER TABLE consumers ADD COLUMN epoch int NOT NULL DEFAULT 1;
COMMENT ON COLUMN consumers.epoch IS 'in which its watermark was saved';

GRANT SELECT ON log_epochs TO eventstore_reader, eventstore_projector;
