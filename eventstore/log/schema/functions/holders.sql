-- Who holds the locks of the log, or waits for them: a row for each session, or prepared transaction, and kind.
--   append       announced an append that is still open: readers see nothing recorded after it
--   writers      keeps appends waiting: to one order, or those that begin in one millisecond
--   publishing   keeps readers from reading on, or replicas from being told how far they may read
--   consumer     follows under a name, or changes its row
--   projection   refreshes or promotes a read model
--   replay       folds a bucket of a candidate
--   migration    changes the schema
--   table        keeps a whole table of the log from being written
-- name is what is held, where that can be told. since is when the transaction began; of a lock that belongs to
-- the session, which it may have taken later, when the session began. gid names a prepared transaction: it has
-- no session. waiting_for are the pids that it waits for now, 0 for a prepared transaction.
CREATE OR REPLACE FUNCTION lock_holders()
    RETURNS TABLE (kind text, name text, floor_ms bigint, pid int, role name, application_name text,
                   client_addr inet, state text, since timestamptz, query text, gid text,
                   granted boolean, waiting_for int[])
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH lock AS MATERIALIZED (
        SELECT l.*, CASE WHEN l.pid IS NULL THEN l.virtualtransaction END AS prepared
          FROM pg_locks l
         WHERE l.locktype IN ('advisory', 'relation', 'transactionid', 'tuple')
           AND (l.database IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
                OR l.database IS NULL)
           -- Of the locks on tables, which are many, only those that can keep others waiting.
           AND (l.locktype <> 'relation' OR NOT l.granted
                OR l.relation IN ('projections'::regclass, 'consumers'::regclass, 'horizon_publishing'::regclass,
                                 'scanned_horizon'::regclass)
                OR l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
    ), kind_of AS (
        SELECT CASE WHEN l.objsubid = 1 AND l.classid::bigint >> 16 = 17747
                    THEN CASE l.mode WHEN 'ShareLock' THEN 'append' ELSE 'writers' END
                    WHEN l.objsubid <> 2 THEN NULL
                    WHEN l.classid::bigint = 17749 THEN 'writers'
                    WHEN l.classid::bigint = 17748 THEN 'consumer'
                    WHEN l.classid::bigint = 17747 THEN 'replay'
                    WHEN l.classid = 0 AND l.objid::bigint IN (1163067393, 1163067394) THEN 'migration'
               END AS kind,
               CASE WHEN l.objsubid <> 2 THEN NULL
                    WHEN l.classid::bigint = 17748
                    THEN (SELECT string_agg(c.name, ', ' ORDER BY c.name) FROM consumers c
                           WHERE hashtext(c.name)::bigint & 4294967295 = l.objid::bigint)
                    WHEN l.classid::bigint = 17747
                    THEN (SELECT c.relname::text FROM pg_class c
                           WHERE c.relnamespace = 'public'::regnamespace AND c.relname LIKE '%\_candidate\___'
                             AND hashtext(c.relname::text)::bigint & 4294967295 = l.objid::bigint LIMIT 1)
               END AS name,
               CASE WHEN l.objsubid = 1 THEN ((l.classid::bigint & 65535) << 32) | l.objid::bigint END AS floor_ms,
               l.pid, l.prepared, l.granted
          FROM lock l WHERE l.locktype = 'advisory'
        UNION ALL
        -- A row that is locked or changed shows the transaction that did so; one that waits, the row it waits for.
        SELECT CASE l.relation WHEN 'consumers'::regclass THEN 'consumer' ELSE 'projection' END,
               coalesce(held.name, awaited.name), NULL, l.pid, l.prepared,
               held.name IS NOT NULL OR NOT EXISTS (
                   SELECT FROM lock w WHERE w.pid = l.pid AND NOT w.granted)
          FROM lock l
          LEFT JOIN LATERAL (
               SELECT r.name
                 FROM lock t
                 JOIN (SELECT p.name, p.xmax AS locker, 'projections'::regclass AS relation FROM projections p
                       UNION ALL
                       SELECT c.name, c.xmax, 'consumers'::regclass FROM consumers c) AS r
                   ON r.locker = t.transactionid AND r.relation = l.relation
                WHERE t.locktype = 'transactionid' AND t.mode = 'ExclusiveLock' AND t.granted
                  AND (t.pid, t.prepared) IS NOT DISTINCT FROM (l.pid, l.prepared)) AS held ON true
          LEFT JOIN LATERAL (
               SELECT r.name
                 FROM lock t
                 JOIN (SELECT p.name, p.ctid AS place, 'projections'::regclass AS relation FROM projections p
                       UNION ALL
                       SELECT c.name, c.ctid, 'consumers'::regclass FROM consumers c) AS r
                   ON r.place = format('(%s,%s)', t.page, t.tuple)::tid AND r.relation = t.relation
                WHERE t.locktype = 'tuple' AND t.relation = l.relation AND t.pid = l.pid) AS awaited ON true
         WHERE l.locktype = 'relation' AND l.relation IN ('projections'::regclass, 'consumers'::regclass)
           AND l.mode IN ('RowShareLock', 'RowExclusiveLock')
        UNION ALL
        SELECT CASE WHEN p.is_publishing THEN 'publishing' ELSE 'table' END,
               CASE WHEN NOT p.is_publishing THEN c.relname::text END,
               NULL, l.pid, l.prepared, l.granted
          FROM lock l
          JOIN pg_class c ON c.oid = l.relation AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
         CROSS JOIN LATERAL (SELECT l.relation IN ('horizon_publishing'::regclass, 'scanned_horizon'::regclass)) p (is_publishing)
         WHERE l.locktype = 'relation'
           AND CASE WHEN p.is_publishing THEN l.mode <> 'AccessShareLock'
                         -- Who skipped a row that was locked keeps this one.
                         AND NOT (l.relation = 'scanned_horizon'::regclass AND l.mode = 'RowShareLock')
                    ELSE c.relname NOT LIKE '%\_candidate%'
                         AND (l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                              OR NOT l.granted)
               END
    ), holder AS (
        SELECT k.kind, string_agg(DISTINCT k.name, ', ') AS name, min(k.floor_ms) AS floor_ms, k.pid, k.prepared,
               bool_and(k.granted) AS granted
          FROM kind_of k
         WHERE k.kind IS NOT NULL
         GROUP BY k.kind, k.pid, k.prepared
    )
    SELECT h.kind, h.name, h.floor_ms, h.pid, coalesce(a.usename, x.owner),
           CASE WHEN x.gid IS NULL THEN a.application_name ELSE 'prepared transaction ' || x.gid END,
           a.client_addr, CASE WHEN x.gid IS NULL THEN a.state ELSE 'prepared' END,
           CASE WHEN x.gid IS NOT NULL THEN x.prepared
                -- An append that claims to be older than its transaction is a lock of the session.
                WHEN h.kind = 'append'
                THEN least(coalesce(a.xact_start, a.backend_start),
                           greatest(a.backend_start, to_timestamp(least(h.floor_ms, 253402300799999) / 1000.0)))
                ELSE coalesce(a.xact_start, a.backend_start)
           END,
           left(a.query, 200), x.gid, h.granted,
           CASE WHEN EXISTS (SELECT FROM lock w WHERE w.pid = h.pid AND NOT w.granted)
                THEN ARRAY(SELECT DISTINCT b FROM unnest(pg_blocking_pids(h.pid)) AS b ORDER BY b)
                ELSE '{}' END
      FROM holder h
      LEFT JOIN pg_stat_activity a ON a.pid = h.pid
      LEFT JOIN lock t ON t.prepared = h.prepared AND t.locktype = 'transactionid' AND t.granted
                      AND t.transactionid IN (SELECT p.transaction FROM pg_prepared_xacts p)
      LEFT JOIN pg_prepared_xacts x ON x.transaction = t.transactionid
     ORDER BY 9, 1, 4;
$$;

-- Who holds the feed back, and since when: the sessions with an append that is still open, and the appends that
-- were prepared and neither committed nor rolled back.
CREATE OR REPLACE FUNCTION horizon_holders()
    RETURNS TABLE (floor_ms bigint, pid int, role name, application_name text, client_addr inet,
                   state text, open_since timestamptz, query text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT h.floor_ms, h.pid, h.role, h.application_name, h.client_addr, h.state, h.since, h.query
      FROM lock_holders() h
     WHERE h.kind = 'append'
     ORDER BY 1;
$$;

-- The holders of a kind of lock, and of a name, in words, for messages: 'nobody' where there is none. Where a row
-- was locked behind a savepoint its name cannot be told: then all that may be meant.
CREATE OR REPLACE FUNCTION name_holders(kind text, name text DEFAULT NULL) RETURNS text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(string_agg(
               CASE WHEN h.gid IS NOT NULL THEN format('prepared transaction %L', h.gid) ELSE format('pid %s', h.pid) END
               || format(' (role %s', coalesce(h.role, 'unknown'))
               || CASE WHEN h.gid IS NULL AND h.application_name <> '' THEN ', application ' || h.application_name ELSE '' END
               || CASE WHEN h.client_addr IS NOT NULL THEN ', from ' || host(h.client_addr) ELSE '' END
               || CASE WHEN h.state IS NOT NULL AND h.gid IS NULL THEN ', ' || h.state ELSE '' END
               || ')' || coalesce(to_char(h.since AT TIME ZONE 'UTC', '" since "YYYY-MM-DD HH24:MI:SS" UTC"'), ''),
               '; '), 'nobody')
      FROM (SELECT o.*, bool_or(o.name = $2) OVER () AS some_are_named FROM lock_holders() o
             WHERE o.kind = $1 AND o.granted AND o.pid IS DISTINCT FROM pg_backend_pid()) AS h
     WHERE $2 IS NULL OR h.name = $2 OR (h.name IS NULL AND h.some_are_named IS NOT TRUE);
$$;

-- Those that have kept others waiting for longer than the setting max_hold, and the statement that ends each:
-- readers or writers, whoever they are; consumers, replays and migrations, where it is not theirs to do that, for
-- any login can take an advisory lock. Who follows, refreshes, promotes or replays may do so for long.
CREATE OR REPLACE FUNCTION overdue_holders()
    RETURNS TABLE (kind text, pid int, role name, application_name text, client_addr inet, state text,
                   since timestamptz, query text, gid text, remedy text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT h.kind, h.pid, h.role, h.application_name, h.client_addr, h.state, h.since, h.query, h.gid,
           CASE WHEN h.gid IS NULL THEN format('SELECT pg_terminate_backend(%s)', h.pid)
                ELSE format('ROLLBACK PREPARED %1$L (or COMMIT PREPARED %1$L)', h.gid) END
      FROM lock_holders() h
     WHERE CASE h.kind
               WHEN 'append' THEN true
               WHEN 'publishing' THEN h.granted
               WHEN 'writers' THEN h.granted
               WHEN 'consumer' THEN h.granted AND EXISTS (
                   SELECT FROM consumers c JOIN pg_roles r ON r.rolname = c.owner
                    WHERE c.name = h.name AND NOT pg_has_role(h.role, r.oid, 'MEMBER'))
               WHEN 'replay' THEN h.granted AND NOT has_table_privilege(h.role, 'replay_buckets', 'INSERT')
               WHEN 'migration' THEN h.granted AND NOT pg_has_role(h.role, (
                   SELECT c.relowner FROM pg_class c WHERE c.oid = 'order_events'::regclass), 'MEMBER')
               ELSE false
           END
       AND h.pid IS DISTINCT FROM pg_backend_pid()
       AND h.since < clock_timestamp() - (SELECT s.max_hold FROM settings s);
$$;

-- Ends the sessions among overdue_holders(), where the owner of this function may. What a transaction had not
-- committed is rolled back. A prepared transaction is somebody's decision: it is listed, and left alone.
CREATE OR REPLACE FUNCTION end_holders()
    RETURNS TABLE (kind text, pid int, role name, application_name text, client_addr inet, since timestamptz,
                   gid text, ended boolean, remedy text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    holder record;
BEGIN
    FOR holder IN SELECT * FROM overdue_holders() LOOP
        ended := false;
        IF holder.pid IS NOT NULL THEN
            -- Looked at again in the statement that ends it: a pid that was free meanwhile may be anybody's.
            PERFORM pg_stat_clear_snapshot();
            BEGIN
                ended := (SELECT bool_or(pg_terminate_backend(h.pid, 2000)) FROM lock_holders() h
                           WHERE h.pid = holder.pid AND h.kind = holder.kind AND h.since = holder.since
                             AND h.role IS NOT DISTINCT FROM holder.role);
                CONTINUE WHEN ended IS NULL;  -- it let go by itself
            EXCEPTION
                WHEN insufficient_privilege THEN NULL;
            END;
        END IF;
        kind := holder.kind; pid := holder.pid; role := holder.role; since := holder.since; gid := holder.gid;
        application_name := holder.application_name; client_addr := holder.client_addr; remedy := holder.remedy;
        RETURN NEXT;
    END LOOP;
    PERFORM pg_stat_clear_snapshot();
END $$;

COMMENT ON FUNCTION lock_holders IS
    'Who holds what back, and who waits for whom';
COMMENT ON FUNCTION overdue_holders IS
    'Sessions that have kept others waiting for longer than the setting max_hold, and the statement that ends each';
COMMENT ON FUNCTION end_holders IS
    'Ends the sessions among overdue_holders() that its owner may end, and returns them';

REVOKE ALL ON FUNCTION lock_holders, name_holders, overdue_holders, end_holders FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lock_holders, name_holders, overdue_holders TO eventstore_reader, eventstore_projector;
GRANT EXECUTE ON FUNCTION end_holders TO eventstore_projector;
