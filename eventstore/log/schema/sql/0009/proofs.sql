-- How far each proof of what the store keeps is: it goes on from there, and when it is through it begins anew.
CREATE TABLE proofs (
    name            text PRIMARY KEY,
    position        text,
    proven_at       timestamptz,
    round_began_at  timestamptz,
    round_events    bigint NOT NULL DEFAULT 0,
    run_began_at    timestamptz,
    run_pause       interval,
    run_events      bigint NOT NULL DEFAULT 0,
    whole_since     timestamptz,
    whole_at        timestamptz
);
COMMENT ON COLUMN proofs.position IS 'where the next share begins, in words of the proof; null: at the beginning';
COMMENT ON COLUMN proofs.proven_at IS 'when a share was last proven';
COMMENT ON COLUMN proofs.round_events IS 'how many events were proven since the round began';
COMMENT ON COLUMN proofs.run_pause IS 'from the beginning of the run before the last to that of the last';
COMMENT ON COLUMN proofs.whole_since IS 'all that was there by then was proven by whole_at';

-- What a proof has found and is not mended: each run looks at it once more.
CREATE TABLE proof_findings (
    proof     text NOT NULL REFERENCES proofs ON DELETE CASCADE,
    subject   text NOT NULL,
    what      text NOT NULL,
    found_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (proof, subject)
);
COMMENT ON COLUMN proof_findings.subject IS 'what is wrong, such as the id of an order';
GRANT SELECT ON proofs, proof_findings TO eventstore_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON proofs, proof_findings TO eventstore_projector;

ALTER TABLE settings ADD COLUMN proof_budget bigint NOT NULL DEFAULT 1000000
    CONSTRAINT proof_budget_is_between_1000_and_1000000000000 CHECK (proof_budget BETWEEN 1000 AND 1000000000000);
COMMENT ON COLUMN settings.proof_budget IS
    'how many events a run of the jobs integrity and check_history looks at: together they prove everything in turn';
