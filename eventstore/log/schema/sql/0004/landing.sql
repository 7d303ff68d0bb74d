-- Files of a landing folder that a run has taken and not finished: who reads them, and how often it was tried.
-- A row goes when its file is read to its end; ingested_files says so from then on.
CREATE TABLE landing_files (
    file           text NOT NULL,
    size           bigint NOT NULL,
    modified_ns    bigint NOT NULL,
    alone          boolean NOT NULL DEFAULT false,
    claim          uuid,
    claimed_until  timestamptz NOT NULL DEFAULT '-infinity',
    attempts       int NOT NULL DEFAULT 0,
    begun_at       timestamptz,
    last_error     text,
    next_try_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (file, size, modified_ns)
);
COMMENT ON TABLE landing_files IS 'files that a run has taken from a landing folder and not finished';
COMMENT ON COLUMN landing_files.file IS 'its path; with size and modified_ns the version of the file, as in ingested_files';
COMMENT ON COLUMN landing_files.alone IS 'taken to be read after the others, on its own: it is large, or failed before';
COMMENT ON COLUMN landing_files.claim IS 'the run of the load that took it last';
COMMENT ON COLUMN landing_files.claimed_until IS 'no other run takes it before; a run that lives moves it on';
COMMENT ON COLUMN landing_files.attempts IS 'how often it was begun; committed before, so that a crash counts';
COMMENT ON COLUMN landing_files.last_error IS 'why it was not finished';
COMMENT ON COLUMN landing_files.next_try_at IS 'it is not taken again before: the pauses grow';

GRANT SELECT, INSERT, UPDATE, DELETE ON landing_files TO eventstore_ingester;
GRANT SELECT ON landing_files TO eventstore_reader, eventstore_projector;
