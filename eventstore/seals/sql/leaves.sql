-- The events of a bucket whose ids lie in a range, in the order of the tree: how many, their ids and their leaf hashes,
-- one behind the other. Two events never have the same id; if they had, the tree would have one order all the same.
SELECT pg_catalog.count(*),
       coalesce(pg_catalog.string_agg(pg_catalog.uuid_send(id), '' ORDER BY id, order_id, version), ''),
       coalesce(pg_catalog.string_agg({leaf}, '' ORDER BY id, order_id, version), '')
  FROM {bucket}
 WHERE id > %(after)s AND id <= %(until)s
