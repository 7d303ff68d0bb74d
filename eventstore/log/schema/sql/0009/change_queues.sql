-- What is noted of which table, and for whom: the functions are in functions/changes.sql.
CREATE TABLE change_queues (
    name       text PRIMARY KEY,
    source     text NOT NULL,
    key        text[] NOT NULL,
    sums       text[] NOT NULL,
    only_sums  boolean NOT NULL,
    adds       text NOT NULL
);
COMMENT ON TABLE change_queues IS
    'What each statement on a table notes in <name>_changes, for a derived table to follow it. Made by create_derived().';
COMMENT ON COLUMN change_queues.source IS 'the table whose statements are noted';
COMMENT ON COLUMN change_queues.key IS 'the columns that name a group';
COMMENT ON COLUMN change_queues.sums IS 'the columns that are added up';
COMMENT ON COLUMN change_queues.only_sums IS 'a group to whose sums nothing is added has not changed';
COMMENT ON COLUMN change_queues.adds IS
    'the query for what rows of the source, called "changed", add to which groups; executed as the owner';
GRANT SELECT ON change_queues TO eventstore_reader, eventstore_projector;

-- The bodies stand in functions/changes.sql.
CREATE FUNCTION changes_query(queue text, old_rows text, new_rows text) RETURNS text LANGUAGE sql RETURN NULL;
CREATE FUNCTION note_changes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE FUNCTION guard_derived() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
