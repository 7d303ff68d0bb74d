-- The tables that the log consists of: which rows they hold of the hash partitioned log, and what they are called.
SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid), n.nspname::pg_catalog.text, c.relname::pg_catalog.text
  FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE i.inhparent = pg_catalog.to_regclass('public.order_events') AND NOT i.inhdetachpending AND c.relkind = 'r'
