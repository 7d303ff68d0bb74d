-- A rebuild of all read models that is under way: one that was killed goes on from here.
CREATE TABLE rebuild_steps (
    read_model  text PRIMARY KEY,
    epoch       int NOT NULL,
    began_at    timestamptz NOT NULL DEFAULT now(),
    done_at     timestamptz
);
COMMENT ON TABLE rebuild_steps IS 'The read models that a rebuild under way makes anew; empty when it is done.';
COMMENT ON COLUMN rebuild_steps.epoch IS 'of the log when it began: in another one it begins anew';
COMMENT ON COLUMN rebuild_steps.began_at IS 'when the whole rebuild began';
COMMENT ON COLUMN rebuild_steps.done_at IS 'when what was made anew took its place; null: not yet';
GRANT SELECT ON rebuild_steps TO eventstore_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON rebuild_steps TO eventstore_projector;
