-- A query that names every object of this database, of whatever kind: of all catalogs whose rows have an identity.
SELECT string_agg(format($$
           SELECT concat_ws(' ', o.type, o.identity), ''
             FROM %s x, pg_identify_object(%s, x.oid, 0) o
            WHERE x.oid >= 16384 AND o.schema IS DISTINCT FROM 'pg_toast' AND o.identity !~ '^"?pg_t(oast|emp)'
              AND o.identity !~ '_not_null\d* on '  -- named so since PostgreSQL 18, by numbers that differ
              AND o.identity !~ 'RI_ConstraintTrigger'  -- a foreign key's own, with numbers as names
           $$,
       c.oid::regclass, c.oid::oid), ' UNION ALL ')
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'oid'
 WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
   AND c.relname NOT IN ('pg_enum', 'pg_largeobject_metadata')  -- labels belong to their type, the other is data
