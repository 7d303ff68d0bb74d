-- The number of buckets is chosen at `init`: any power of two up to 256. A log that is there keeps its own.
ALTER TABLE replay_buckets
    DROP CONSTRAINT replay_buckets_bucket_check,
    ADD CONSTRAINT replay_buckets_bucket_check CHECK (bucket BETWEEN 0 AND 255);
ALTER TABLE seal_tiles
    DROP CONSTRAINT seal_tiles_bucket_check,
    ADD CONSTRAINT seal_tiles_bucket_check CHECK (bucket BETWEEN 0 AND 255);
ALTER TABLE seal_trees
    DROP CONSTRAINT seal_trees_bucket_check,
    ADD CONSTRAINT seal_trees_bucket_check CHECK (bucket BETWEEN 0 AND 255);

COMMENT ON COLUMN replay_buckets.bucket IS 'of the log, from 0 on';
COMMENT ON COLUMN seal_tiles.bucket IS 'the bucket of the log, from 0 on';
COMMENT ON COLUMN seal_trees.bucket IS 'the bucket of the log, from 0 on';
