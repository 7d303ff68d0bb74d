-- Tables that have the columns of another take over what that says of them, whichever columns it has by now: the
-- candidate of a replay, the queue of a derived table, and the tables that show orders at another time.
DO $$
DECLARE
    missing  record;
BEGIN
    FOR missing IN
        WITH copies (original, copy, whole) AS (
            SELECT o.oid, c.oid, true
              FROM pg_class o JOIN pg_class c ON c.relname = o.relname || '_candidate'
             WHERE o.relnamespace = 'public'::regnamespace AND c.relnamespace = o.relnamespace
               AND o.relkind IN ('r', 'p') AND c.relkind IN ('r', 'p')
            UNION ALL
            SELECT coalesce(to_regclass(format('public.%I', name)), to_regclass(format('public.%I', source))),
                   to_regclass(format('public.%I', name || '_changes')), true
              FROM change_queues
            UNION ALL
            SELECT 'orders'::regclass, c.oid, false FROM pg_class c
             WHERE c.relnamespace = 'public'::regnamespace
               AND c.relname IN ('order_history', 'order_snapshots', 'order_checkpoints')
            UNION ALL
            SELECT 'orders'::regclass, to_regclass('public.order_history_candidate'), false
            UNION ALL
            SELECT 'order_snapshots'::regclass, 'order_checkpoints'::regclass, false
        ), told AS (
            SELECT k.copy, k.whole, theirs.attname AS name, col_description(k.original, ours.attnum) AS says,
                   col_description(k.copy, theirs.attnum) AS said
              FROM copies k
              JOIN pg_attribute ours ON ours.attrelid = k.original AND ours.attnum > 0 AND NOT ours.attisdropped
              JOIN pg_attribute theirs ON theirs.attrelid = k.copy AND theirs.attname = ours.attname
        )
        SELECT copy::regclass AS name_of_table, name, says FROM told
         WHERE says IS NOT NULL AND (said IS NULL OR whole AND said <> says)
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', missing.name_of_table, missing.name, missing.says);
    END LOOP;
    FOR missing IN
        SELECT c.oid::regclass AS copy, o.relname AS original
          FROM pg_class o JOIN pg_class c ON c.relname = o.relname || '_candidate'
         WHERE o.relnamespace = 'public'::regnamespace AND c.relnamespace = o.relnamespace
           AND o.relkind IN ('r', 'p') AND c.relkind IN ('r', 'p') AND obj_description(c.oid, 'pg_class') IS NULL
    LOOP
        EXECUTE format('COMMENT ON TABLE %s IS %L', missing.copy,
                       format('What a replay makes of the log, bucket by bucket, until it becomes %s.', missing.original));
    END LOOP;
END $$;
