-- Who holds the feed back, and since when: the sessions with an append that is still open.
CREATE OR REPLACE FUNCTION horizon_holders()
    RETURNS TABLE (floor_ms bigint, pid int, role name, application_name text, client_addr inet,
                   state text, open_since timestamptz, query text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT ((l.classid::bigint & 65535) << 32) | l.objid::bigint, l.pid, a.usename, a.application_name,
           a.client_addr, a.state, a.xact_start, left(a.query, 200)
      FROM pg_locks l
      LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.objsubid = 1
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND l.classid::bigint >> 16 = 17747
     ORDER BY 1;
$$;
