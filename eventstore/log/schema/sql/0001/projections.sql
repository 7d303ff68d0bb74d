-- One row per read model. Its watermark commits in the same transaction as its rows.
CREATE TABLE projections (
    name           text PRIMARY KEY,
    watermark      uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    fold_version   text NOT NULL,
    promotion      text NOT NULL DEFAULT 'auto' CHECK (promotion IN ('auto', 'manual')),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN projections.promotion IS
    'auto: the refresh promotes a complete replay; manual: a person reads the preview and promotes it';

-- Orders with an event that the fold failed on. Their rows stay as they were until a retry succeeds.
CREATE TABLE quarantine (
    projection   text NOT NULL,
    order_id     uuid NOT NULL,
    error        text NOT NULL,
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, order_id)
);

-- The buckets of a replay that stand in a candidate table, each with the watermark it was folded up to.
CREATE TABLE replay_buckets (
    projection     text NOT NULL,
    bucket         int  NOT NULL CHECK (bucket BETWEEN 0 AND 15),
    fold_version   text NOT NULL,
    watermark      uuid NOT NULL,
    events         bigint NOT NULL,
    rows           bigint NOT NULL,
    held           boolean NOT NULL DEFAULT false,
    finished_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, bucket)
);
COMMENT ON COLUMN replay_buckets.held IS 'replayed for a preview: promoted by a person only';
