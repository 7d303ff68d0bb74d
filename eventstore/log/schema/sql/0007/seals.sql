-- The Merkle trees over the log, one a bucket, its leaves in the order of the ids of their events (RFC 9162).
-- Whole tiles: 256 leaf hashes, the ids of their events and the root of their subtree. Written once.
CREATE TABLE seal_tiles (
    bucket   int    NOT NULL CHECK (bucket BETWEEN 0 AND 15),
    tile     bigint NOT NULL CHECK (tile >= 0),
    last_id  uuid   NOT NULL,
    root     bytea  NOT NULL CHECK (octet_length(root) = 32),
    ids      bytea  NOT NULL CHECK (octet_length(ids) = 4096),
    leaves   bytea  NOT NULL CHECK (octet_length(leaves) = 8192),
    PRIMARY KEY (bucket, tile)
);
CREATE INDEX seal_tiles_last_id ON seal_tiles (bucket, last_id);
-- Hashes do not compress: that is not even tried. Beside the table, so that the roots are read without them.
ALTER TABLE seal_tiles ALTER leaves SET STORAGE EXTERNAL, ALTER ids SET STORAGE EXTERNAL;
COMMENT ON TABLE seal_tiles IS 'the leaf hashes of sealed events, 256 in a row, by the bucket of the log: see docs/seals.md';
COMMENT ON COLUMN seal_tiles.tile IS '0, 1, 2 … within the bucket: it holds the leaves from 256 * tile on';
COMMENT ON COLUMN seal_tiles.last_id IS 'the id of its last event';
COMMENT ON COLUMN seal_tiles.root IS 'the root of its subtree';
COMMENT ON COLUMN seal_tiles.ids IS 'the ids of its events, 16 bytes each: the name of an event that was removed';

-- What is needed to let each tree grow: as the newest checkpoint says, in the same transaction.
CREATE TABLE seal_trees (
    bucket  int    PRIMARY KEY CHECK (bucket BETWEEN 0 AND 15),
    tiles   bigint NOT NULL DEFAULT 0,
    edge    bytea  NOT NULL DEFAULT '',
    leaves  bytea  NOT NULL DEFAULT '',
    ids     bytea  NOT NULL DEFAULT ''
);
ALTER TABLE seal_trees ALTER leaves SET STORAGE EXTERNAL, ALTER ids SET STORAGE EXTERNAL;
INSERT INTO seal_trees (bucket) SELECT generate_series(0, 15);
COMMENT ON TABLE seal_trees IS 'where the tree of each bucket of the log goes on growing';
COMMENT ON COLUMN seal_trees.edge IS 'the hashes of the largest whole subtrees over its whole tiles, the largest first';
COMMENT ON COLUMN seal_trees.leaves IS 'the leaf hashes that do not fill a tile yet';
COMMENT ON COLUMN seal_trees.ids IS 'the ids of their events';

CREATE TABLE seal_checkpoints (
    number     bigint PRIMARY KEY,
    epoch      int NOT NULL,
    size       bigint NOT NULL,
    horizon    uuid NOT NULL,
    sealed_at  timestamptz NOT NULL,
    note       text NOT NULL
);
COMMENT ON TABLE seal_checkpoints IS 'what was sealed, and when; `note` is the truth, and signed, the rest is copied from it';
COMMENT ON COLUMN seal_checkpoints.size IS 'sealed events in all';
COMMENT ON COLUMN seal_checkpoints.horizon IS 'every event up to this id is sealed';
COMMENT ON COLUMN seal_checkpoints.note IS 'the checkpoint with its signature: a line `tree BUCKET SIZE ROOT` a bucket';

CREATE TABLE seal_keys (
    number  int PRIMARY KEY,
    vkey    text NOT NULL UNIQUE,
    after   bigint NOT NULL,
    note    text NOT NULL
);
COMMENT ON TABLE seal_keys IS 'the public keys that checkpoints are signed by, one after the other; `note` is the truth';
COMMENT ON COLUMN seal_keys.vkey IS 'the key in the form of c2sp.org/signed-note';
COMMENT ON COLUMN seal_keys.after IS 'it signs the checkpoints after this one';
COMMENT ON COLUMN seal_keys.note IS 'which key it replaces, signed by both';

CREATE TABLE seal_timestamps (
    checkpoint  bigint NOT NULL REFERENCES seal_checkpoints,
    authority   text NOT NULL,
    stamped_at  timestamptz NOT NULL,
    reply       bytea NOT NULL,
    PRIMARY KEY (checkpoint, authority)
);
COMMENT ON TABLE seal_timestamps IS 'what time stamp authorities (RFC 3161) say of the notes of checkpoints';
COMMENT ON COLUMN seal_timestamps.stamped_at IS 'by the clock of the authority';

-- How far the verification has come that takes a part of the log each night, and what it found wrong.
CREATE TABLE seal_verification (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    bucket        int NOT NULL DEFAULT 0,
    tile          bigint NOT NULL DEFAULT 0,
    checkpoint    bigint NOT NULL DEFAULT 1,
    begun_at      timestamptz,
    events        bigint NOT NULL DEFAULT 0,
    verified_at   timestamptz,
    all_done_by   timestamptz,
    all_done_at   timestamptz,
    failing       jsonb NOT NULL DEFAULT '[]',
    problems      jsonb NOT NULL DEFAULT '[]'
);
INSERT INTO seal_verification DEFAULT VALUES;
COMMENT ON TABLE seal_verification IS 'how far the verification of seals has come that walks through the log in turn';
COMMENT ON COLUMN seal_verification.bucket IS 'with tile: what is verified next';
COMMENT ON COLUMN seal_verification.checkpoint IS 'which checkpoint is looked at next, in turn as the events are';
COMMENT ON COLUMN seal_verification.begun_at IS 'when this round began; null: with the next run';
COMMENT ON COLUMN seal_verification.events IS 'verified in this round';
COMMENT ON COLUMN seal_verification.verified_at IS 'when a part was last verified';
COMMENT ON COLUMN seal_verification.all_done_by IS 'when this round will have come to its end, at the present pace';
COMMENT ON COLUMN seal_verification.all_done_at IS 'when a round last came to its end';
COMMENT ON COLUMN seal_verification.failing IS 'parts that failed: they are verified again each time, until they do not';
COMMENT ON COLUMN seal_verification.problems IS 'what was wrong with these, as `eventstore verify --json` says it';

ALTER TABLE settings
    ADD COLUMN max_unsealed   interval NOT NULL DEFAULT '30 minutes'
               CONSTRAINT max_unsealed_is_between_1_minute_and_30_days
               CHECK (max_unsealed BETWEEN '1 minute' AND '30 days'),
    ADD COLUMN verify_events  bigint NOT NULL DEFAULT 10000000
               CONSTRAINT verify_events_is_at_least_1000 CHECK (verify_events >= 1000);
COMMENT ON COLUMN settings.max_unsealed IS
    'for how long an event may wait for its seal before the check sealed_in_time warns';
COMMENT ON COLUMN settings.verify_events IS
    'how many events the nightly verification of the seals reads at most: it walks through the log in turn';

-- The body stands in functions/seals.sql.
CREATE FUNCTION refuse_seal_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE insufficient_privilege; END';

-- What was sealed stays. Trees and the verification go on, but nothing of them goes away.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['seal_tiles', 'seal_checkpoints', 'seal_keys', 'seal_timestamps'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_seal_change(); '
                       'ALTER TABLE %1$I ENABLE ALWAYS TRIGGER append_only', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['seal_trees', 'seal_verification'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_seal_change(); '
                       'ALTER TABLE %1$I ENABLE ALWAYS TRIGGER append_only', name);
    END LOOP;
END $$;

-- Whoever keeps the read models seals, too: a seal is made from the log, and what makes it one is the key, which no
-- role of the database has.
GRANT SELECT ON seal_tiles, seal_trees, seal_checkpoints, seal_keys, seal_timestamps, seal_verification
    TO eventstore_reader, eventstore_projector;
GRANT INSERT ON seal_tiles, seal_checkpoints, seal_keys, seal_timestamps TO eventstore_projector;
GRANT UPDATE (tiles, edge, leaves, ids) ON seal_trees TO eventstore_projector;
GRANT UPDATE (bucket, tile, checkpoint, begun_at, events, verified_at, all_done_by, all_done_at, failing, problems)
    ON seal_verification TO eventstore_projector;
