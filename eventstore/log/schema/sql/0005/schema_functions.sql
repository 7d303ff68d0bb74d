-- The log has functions, and so has the domain that it is handed: each are created anew when their own files change.
ALTER TABLE schema_functions
    ADD COLUMN whose text PRIMARY KEY DEFAULT 'log'
               CONSTRAINT whose_is_log_or_domain CHECK (whose IN ('log', 'domain'));
ALTER TABLE schema_functions ALTER whose DROP DEFAULT;
COMMENT ON TABLE schema_functions IS 'Which functions the database has: the digest of their files.';
COMMENT ON COLUMN schema_functions.whose IS 'those of the log, or those that the domain brought';
