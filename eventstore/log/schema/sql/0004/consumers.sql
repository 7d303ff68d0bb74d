-- Consumers belong to somebody.
ALTER TABLE consumers ADD COLUMN owner name;
COMMENT ON COLUMN consumers.owner IS
    'the role that registered it: it, its members and superusers may change it. Null: whoever saves next';

-- Settings of this store, a column each, in one row.
CREATE TABLE settings (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    max_hold  interval NOT NULL DEFAULT '5 minutes'
              CONSTRAINT max_hold_is_between_10_seconds_and_1_day CHECK (max_hold BETWEEN '10 seconds' AND '1 day')
);
COMMENT ON TABLE settings IS 'Settings of this store: see the comment of each column. UPDATE settings SET max_hold = ''10 minutes''';
COMMENT ON COLUMN settings.max_hold IS
    'for how long a session may keep readers or writers waiting before the job end_holders ends it';
INSERT INTO settings DEFAULT VALUES;
