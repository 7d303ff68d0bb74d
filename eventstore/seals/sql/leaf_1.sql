/* The leaf of an event, format 1. Every name of a function is qualified: nothing in another schema is called in its
   place. jsonb's own text is canonical, and no setting of a session changes a part of it. */
pg_catalog.sha256(pg_catalog.decode('00', 'hex') || pg_catalog.convert_to(pg_catalog.jsonb_build_array(
    id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)::pg_catalog.text, 'UTF8'))
