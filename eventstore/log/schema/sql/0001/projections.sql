-- One row per read model. Its watermark commits in the same transaction as its rows.
CREATE TABLE projections (
    name           text PRIMARY KEY,
    watermark      uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    fold_version   text NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now()
);

-- The buckets of a replay that stand in a candidate table, each with the watermark it was folded up to.
CREATE TABLE replay_buckets (
    projection     text NOT NULL,
    bucket         int  NOT NULL CHECK (bucket BETWEEN 0 AND 15),
    fold_version   text NOT NULL,
    watermark      uuid NOT NULL,
    events         bigint NOT NULL,
    rows           bigint NOT NULL,
    finished_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, bucket)
);
