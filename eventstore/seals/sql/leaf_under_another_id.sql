-- The leaf hash that an event would have under another id.
SELECT {leaf}
  FROM (SELECT %(id)s::pg_catalog.uuid AS id, order_id, version, event_type, event_data, created_at, source, source_id,
               metadata
          FROM {bucket} e WHERE e.id = %(found_under)s) renamed
