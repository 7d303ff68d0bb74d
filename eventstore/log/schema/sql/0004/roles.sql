GRANT SELECT ON settings TO eventstore_reader, eventstore_projector;

-- Where not everybody may connect, as in a database that we made, our roles may.
DO $$
BEGIN
    IF NOT has_database_privilege('public', current_database(), 'CONNECT') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO eventstore_writer, eventstore_reader, '
                       'eventstore_projector, eventstore_ingester', current_database());
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN NULL;  -- whoever revoked it grants it
END $$;
