-- What is there, and what a release without formats keeps, came as CloudEvents.
ALTER TABLE rejects ADD COLUMN format text NOT NULL DEFAULT 'cloudevents';
COMMENT ON COLUMN rejects.format IS 'the format of the file: by it a retry reads the record again';
COMMENT ON COLUMN rejects.raw IS 'the record: a line, or what else its format can read without the file';
