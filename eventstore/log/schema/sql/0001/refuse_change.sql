-- The log is append-only for everyone, its owner included.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the event log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Append an event that corrects the fact, for example OrderAmountCorrected; '
                     'late facts carry their own business time in created_at.';
END $$;

-- Statement triggers of a parent do not fire for statements on its partitions: each table has its own.
DO $$
DECLARE
    log_table regclass;
BEGIN
    FOR log_table IN SELECT relid FROM pg_partition_tree('order_events') LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s
                        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', log_table);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', log_table);
    END LOOP;
END $$;
