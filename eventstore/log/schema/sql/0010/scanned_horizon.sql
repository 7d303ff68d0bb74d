-- What replicas can know of the horizon: they see no open appends. One row, written by publish_horizon(); there is
-- none before the first time, so that a new subscriber can copy it.
CREATE TABLE scanned_horizon (
    only_row           boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    horizon_ms         bigint NOT NULL,
    noted_at           timestamptz NOT NULL,
    system_identifier  bigint NOT NULL,
    timeline           int NOT NULL,
    log                oid NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE scanned_horizon IS
    'Whoever sees this row has every event up to its horizon. Read order_events on a replica by read_events().';
COMMENT ON COLUMN scanned_horizon.horizon_ms IS 'no append that is open now, or begins later, gets an id up to here';
COMMENT ON COLUMN scanned_horizon.system_identifier IS
    'with timeline and log (the table order_events): where it was written. Elsewhere a new epoch begins';

GRANT SELECT ON scanned_horizon TO eventstore_reader, eventstore_projector;
