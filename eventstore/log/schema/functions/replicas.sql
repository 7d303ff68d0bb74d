-- Whether this database subscribes to the log of another one.
CREATE OR REPLACE FUNCTION is_subscriber() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM pg_subscription_rel)  -- nearly always this is all
       AND EXISTS (SELECT FROM pg_subscription_rel s JOIN pg_partition_tree('order_events') t ON t.relid = s.srrelid);
$$;

-- Whether this is a copy that follows: appends belong elsewhere, and it does not know which of them are open.
CREATE OR REPLACE FUNCTION is_replica() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT pg_is_in_recovery() OR is_subscriber();
$$;

-- The server that writes this log: the cluster; its timeline, of which a promotion or a restore to a moment begins a
-- new one; the table, which is another one where a dump was restored into the same cluster.
CREATE OR REPLACE FUNCTION log_home(OUT system_identifier bigint, OUT timeline int, OUT log oid)
    LANGUAGE sql STABLE AS $$
    SELECT s.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int,
           'order_events'::regclass::oid
      FROM pg_control_system() s;
$$;

-- Writes the horizon into the row that replicas read. Part of publish_horizon(): what is published is seen by every
-- append at once, so the locks may be looked at now. Who sees the row has what was committed before its transaction:
-- the events up to the horizon, whose appends had let go of their locks. One writer at a time, the others skip it.
CREATE OR REPLACE FUNCTION note_horizon() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    noted    scanned_horizon;
    here     record;
    scanned  bigint;
BEGIN
    SELECT * INTO noted FROM scanned_horizon;
    IF noted.noted_at BETWEEN clock_timestamp() - interval '100 milliseconds' AND clock_timestamp()
       OR current_setting('transaction_isolation') <> 'read committed'
       OR current_setting('eventstore.published_here', true) <> '' THEN
        RETURN;
    END IF;
    scanned := horizon_ms();
    SELECT * INTO here FROM log_home();
    IF noted.only_row THEN
        PERFORM FROM scanned_horizon FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            UPDATE scanned_horizon r
               SET horizon_ms = greatest(r.horizon_ms, scanned), noted_at = clock_timestamp(), timeline = here.timeline,
                   system_identifier = here.system_identifier, log = here.log;
        END IF;
    ELSIF pg_try_advisory_xact_lock(0, 1163067394) THEN
        INSERT INTO scanned_horizon (horizon_ms, noted_at, system_identifier, timeline, log)
        VALUES (scanned, clock_timestamp(), here.system_identifier, here.timeline, here.log) ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- The horizon as a replica knows it: on a standby what the primary has written is replayed in the order in which it
-- was written there, and a subscription applies transactions in the order in which they were committed.
CREATE OR REPLACE FUNCTION replica_horizon_ms() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    noted    bigint;
    missing  text;
BEGIN
    IF NOT pg_is_in_recovery() THEN
        -- All of one subscription, and copied: before that, one table may be ahead of the other.
        WITH needed AS (
            SELECT t.relid, s.srsubid, s.srsubstate
              FROM (SELECT relid FROM pg_partition_tree('order_events')
                     WHERE (level = 0) = EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = 'order_events'::regclass)
                     UNION ALL VALUES ('scanned_horizon'::regclass), ('log_epochs'::regclass)) AS t (relid)
              LEFT JOIN pg_subscription_rel s ON s.srrelid = t.relid
        )
        SELECT CASE WHEN bool_or(srsubid IS NULL)
                    THEN 'its publication lacks ' || string_agg(relid::text, ', ') FILTER (WHERE srsubid IS NULL)
                    WHEN count(DISTINCT srsubid) > 1 THEN 'its tables come by several subscriptions'
                    WHEN bool_or(srsubstate <> 'r')
                    THEN 'it still copies ' || string_agg(relid::text, ', ') FILTER (WHERE srsubstate <> 'r')
               END
          INTO missing FROM needed;
        IF missing IS NOT NULL THEN
            RAISE EXCEPTION 'this subscriber cannot be read yet: %', missing
                USING ERRCODE = 'ES005',
                      HINT = 'One publication with order_events, scanned_horizon and log_epochs, one subscription to '
                             'it, and the state r for each of them in pg_subscription_rel.';
        END IF;
    END IF;
    SELECT r.horizon_ms INTO noted FROM scanned_horizon r;
    IF noted IS NULL THEN
        RAISE EXCEPTION 'this replica knows of no horizon yet: nobody has published one on the primary'
            USING ERRCODE = 'ES005', HINT = 'There: eventstore horizon';
    END IF;
    RETURN noted;
END $$;

REVOKE ALL ON FUNCTION is_subscriber, is_replica, log_home, note_horizon, replica_horizon_ms FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_subscriber, is_replica TO
    eventstore_writer, eventstore_ingester, eventstore_reader, eventstore_projector;
