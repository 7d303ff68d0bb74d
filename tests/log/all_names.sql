-- A query that names every object of this database, of whatever kind, with how many have the name: of all catalogs
-- whose rows have an identity. Numbers that PostgreSQL gives, to the triggers of foreign keys and, since 18, to
-- constraints NOT NULL, are left out.
SELECT string_agg(format($$
           SELECT concat_ws(' ', o.type, regexp_replace(o.identity,
                      '(RI_ConstraintTrigger_[ac]_|_not_null)\d+', '\1')), count(*)::text
             FROM %s x, pg_identify_object(%s, x.oid, 0) o
            WHERE x.oid >= 16384 AND o.schema IS DISTINCT FROM 'pg_toast' AND o.identity !~ '^"?pg_t(oast|emp)'
            GROUP BY 1$$,
       c.oid::regclass, c.oid::oid), ' UNION ALL ')
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'oid'
 WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
   AND c.relname NOT IN ('pg_enum', 'pg_largeobject_metadata')  -- labels belong to their type, the other is data
