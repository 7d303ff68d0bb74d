-- The highest millisecond that any reader was ever shown (published_ms). Appenders mint their ids above it.
-- A sequence, because what one session sets is at once seen by all: no snapshot, commit or rollback is in between.
-- Only publish_horizon() sets it, and never lower.
CREATE SEQUENCE feed_horizon MINVALUE 0 START 0;
SELECT setval('feed_horizon', 0);
