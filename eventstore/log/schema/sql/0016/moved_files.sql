-- A file is known by its content, whatever it is called. What was read moves out of the landing folder; what an
-- older release read has no hash here, and stays where it is.
ALTER TABLE ingested_files
    ADD COLUMN sha256        bytea,
    ADD COLUMN format        text,
    ADD COLUMN damage        text,
    ADD COLUMN moved_to      text,
    ADD COLUMN move_error    text,
    ADD COLUMN move_again_at timestamptz;
COMMENT ON COLUMN ingested_files.modified_ns IS
    'when it was changed, in nanoseconds; of a file at a URL the digits below a second stand for its entity tag';
COMMENT ON COLUMN ingested_files.sha256 IS 'the hash of its content; null: an older release read it, and it stays where it is';
COMMENT ON COLUMN ingested_files.format IS 'the format that it was read in';
COMMENT ON COLUMN ingested_files.damage IS 'why it could not be read whole; null: it was';
COMMENT ON COLUMN ingested_files.moved_to IS 'where it was moved to from the landing folder; null: it was not moved';
COMMENT ON COLUMN ingested_files.move_error IS 'why it could not be moved when that was tried last';
COMMENT ON COLUMN ingested_files.move_again_at IS 'it is not tried again before';
-- Whether a content is known is asked by its size first: most need no hash before they are read.
CREATE INDEX ingested_files_by_content ON ingested_files (size, sha256) WHERE sha256 IS NOT NULL;
