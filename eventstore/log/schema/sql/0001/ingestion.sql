-- Lines that could not be appended: kept as they came, with the reason, until a retry succeeds.
CREATE TABLE rejects (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    file         text NOT NULL,
    line         bigint NOT NULL,
    reason       text NOT NULL,
    detail       text NOT NULL,
    raw          bytea NOT NULL,
    raw_sha256   bytea NOT NULL GENERATED ALWAYS AS (sha256(raw)) STORED,
    raw_bytes    bigint NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT now(),
    resolved_at  timestamptz,
    UNIQUE (file, line, raw_sha256)
);
COMMENT ON COLUMN rejects.reason IS 'a short stable code, such as not_json or unknown_type; detail says it in words';
COMMENT ON COLUMN rejects.raw_bytes IS 'size of the line in the file; raw holds at most its first megabyte';
COMMENT ON COLUMN rejects.resolved_at IS 'when a retry appended it (or found it already appended)';

-- Files read to their end.
CREATE TABLE ingested_files (
    file         text NOT NULL,
    size         bigint NOT NULL,
    modified_ns  bigint NOT NULL,
    read         bigint NOT NULL,
    appended     bigint NOT NULL,
    duplicates   bigint NOT NULL,
    rejected     bigint NOT NULL,
    finished_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (file, size, modified_ns)
);
