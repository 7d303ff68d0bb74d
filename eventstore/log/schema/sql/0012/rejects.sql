-- A reject that nobody will ever append is discarded: it is kept, with who decided so and why, and waits no more.
ALTER TABLE rejects
    ADD COLUMN discarded_at    timestamptz,
    ADD COLUMN discarded_by    text,
    ADD COLUMN discard_reason  text,
    ADD CONSTRAINT a_discarded_reject_says_by_whom_and_why CHECK (
        CASE WHEN discarded_at IS NULL THEN discarded_by IS NULL AND discard_reason IS NULL
             ELSE resolved_at IS NOT NULL AND discarded_by <> '' AND discard_reason <> '' END IS TRUE);
COMMENT ON COLUMN rejects.resolved_at IS
    'when it was settled: a retry appended it (or found it already appended), or somebody discarded it';
COMMENT ON COLUMN rejects.discarded_at IS 'when somebody decided that it is not to be appended';
COMMENT ON COLUMN rejects.discarded_by IS 'who did';
COMMENT ON COLUMN rejects.discard_reason IS 'why, in their words';
-- Most are settled: what waits is walked by id, counted by reason and found by it without reading them all.
CREATE INDEX rejects_that_wait ON rejects (id) WHERE resolved_at IS NULL;
CREATE INDEX rejects_waiting ON rejects (reason, id) WHERE resolved_at IS NULL;
