-- An event as its leaf is made from: the text, and its hash.
SELECT pg_catalog.jsonb_build_array(
           id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)::pg_catalog.text,
       {leaf}
  FROM {bucket}
 WHERE id = %s
