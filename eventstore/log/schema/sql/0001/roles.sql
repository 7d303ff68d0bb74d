-- Group roles: grant them to the logins of your services. They are shared by all databases of the server.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['eventstore_writer', 'eventstore_reader',
                                     'eventstore_projector', 'eventstore_ingester'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;  -- another database's migration was faster
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'role % does not exist and % may not create it', role_name, current_user
                        USING ERRCODE = 'insufficient_privilege',
                              HINT = 'Ask an administrator to run: CREATE ROLE eventstore_writer; '
                                     'CREATE ROLE eventstore_reader; CREATE ROLE eventstore_projector; '
                                     'CREATE ROLE eventstore_ingester;';
            END;
        END IF;
    END LOOP;
END $$;

REVOKE ALL ON FUNCTION append_events, record_events, open_staging, append_staged, publish_horizon, horizon_ms,
                       read_events, horizon_holders, hold_horizon FROM PUBLIC;
-- The functions run with their owner's rights: nobody may put others of the same name before them.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO eventstore_writer, eventstore_reader, eventstore_projector, eventstore_ingester;

-- Writers append and do nothing else.
GRANT EXECUTE ON FUNCTION append_events, record_events TO eventstore_writer, eventstore_ingester;

-- Ingesters append in bulk and keep the rejects.
GRANT EXECUTE ON FUNCTION open_staging, append_staged TO eventstore_ingester;
GRANT SELECT, INSERT, UPDATE ON rejects, ingested_files TO eventstore_ingester;

-- Readers read the log, follow it and query the read models.
GRANT SELECT ON order_events, projections, replay_buckets, quarantine, feed_horizon, rejects,
                ingested_files TO eventstore_reader, eventstore_projector;
GRANT EXECUTE ON FUNCTION publish_horizon, horizon_ms, read_events, horizon_holders, clock_ms, uuidv7_ms,
                          uuidv7_counter, uuidv7_ceiling, recorded_at, business_time, order_bucket
    TO eventstore_reader, eventstore_projector;

-- Projectors write the read models, never the log.
GRANT INSERT, UPDATE, DELETE ON projections, replay_buckets, quarantine TO eventstore_projector;
DO $$
DECLARE
    bucket_table regclass;
BEGIN
    FOR bucket_table IN SELECT relid FROM pg_partition_tree('order_events') LOOP
        EXECUTE format('GRANT SELECT ON %s TO eventstore_reader, eventstore_projector', bucket_table);
    END LOOP;
END $$;
