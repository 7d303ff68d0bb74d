-- One row: the highest millisecond that any reader was ever shown. Appenders mint their ids above it.
CREATE TABLE feed_horizon (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    published_ms  bigint NOT NULL
) WITH (fillfactor = 10);

INSERT INTO feed_horizon (published_ms) VALUES (0);
