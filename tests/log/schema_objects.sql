-- Every object of a database's schema with all that it is: a query a kind, each giving the names of the objects and
-- how each is, in words that are the same in every database. Objects of the kinds that there are, or may soon be, are
-- looked at in detail; of all kinds the names, so that none is overlooked. For PostgreSQL 15 to 18.

-- kind: relation
SELECT c.oid::regclass, concat_ws(' ', c.relkind, c.relpersistence, c.reloptions, c.relrowsecurity,
       c.relforcerowsecurity, c.relreplident, pg_get_partkeydef(c.oid), c.relispopulated,
       (SELECT m.amname FROM pg_am m WHERE m.oid = c.relam), c.reltablespace,
       pg_get_expr(c.relpartbound, c.oid),
       (SELECT i.inhparent::regclass FROM pg_inherits i WHERE i.inhrelid = c.oid),
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
       c.relowner::regrole,
       ARRAY(SELECT x::text FROM unnest(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END,
                                                                       c.relowner))) x ORDER BY 1))
  FROM pg_class c
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')

-- kind: column
SELECT format('%s.%s', c.oid::regclass, a.attname), concat_ws(' ', a.attnum,
       format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
       a.attstorage, a.attcompression, a.attcollation::regcollation, a.attislocal, a.attinhcount,
       coalesce(a.attstattarget, -1),
       -- Debian's PostgreSQL 15 gives every column an option of its own.
       ARRAY(SELECT o FROM unnest(a.attoptions) o WHERE o !~ '^pg_attver=' ORDER BY 1),
       pg_get_expr(b.adbin, b.adrelid),
       ARRAY(SELECT x::text FROM unnest(a.attacl) x ORDER BY 1))
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef b ON b.adrelid = a.attrelid AND b.adnum = a.attnum
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')

-- kind: constraint
SELECT format('%s.%s', c.oid::regclass, o.conname), concat_ws(' ', pg_get_constraintdef(o.oid),
       o.convalidated, o.conislocal, o.coninhcount)
  FROM pg_class c
  JOIN pg_constraint o ON o.conrelid = c.oid
 WHERE c.relnamespace = 'public'::regnamespace

-- kind: index
SELECT c.oid::regclass, concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisclustered,
       i.indisreplident, c.reloptions, c.reltablespace,
       ARRAY(SELECT coalesce(a.attstattarget, -1) FROM pg_attribute a WHERE a.attrelid = c.oid ORDER BY a.attnum))
  FROM pg_class c
  JOIN pg_index i ON i.indexrelid = c.oid
 WHERE c.relnamespace = 'public'::regnamespace

-- kind: trigger
SELECT format('%s.%s', c.oid::regclass, t.tgname), concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled,
       t.tgparentid <> 0)
  FROM pg_class c
  JOIN pg_trigger t ON t.tgrelid = c.oid
 WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal

-- kind: rule
SELECT format('%s.%s', c.oid::regclass, r.rulename), concat_ws(' ', pg_get_ruledef(r.oid), r.ev_enabled)
  FROM pg_class c
  JOIN pg_rewrite r ON r.ev_class = c.oid
 WHERE c.relnamespace = 'public'::regnamespace

-- kind: sequence
SELECT c.oid::regclass, concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
       s.seqcache, s.seqcycle,
       (SELECT format('of %s.%s', d.refobjid::regclass, d.refobjsubid) FROM pg_depend d
         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
  FROM pg_class c
  JOIN pg_sequence s ON s.seqrelid = c.oid
 WHERE c.relnamespace = 'public'::regnamespace

-- kind: function
SELECT p.oid::regprocedure, concat_ws(' ',
       CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) END,
       p.prokind, p.provolatile, p.proparallel, p.prosecdef, p.proleakproof, p.procost, p.prorows, p.proconfig,
       p.prosupport, p.proowner::regrole,
       (SELECT concat_ws(' ', g.aggkind, g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggtranstype::regtype,
                         g.agginitval)
          FROM pg_aggregate g WHERE g.aggfnoid = p.oid),
       ARRAY(SELECT x::text FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) x ORDER BY 1))
  FROM pg_proc p
 WHERE p.pronamespace = 'public'::regnamespace

-- kind: type
SELECT format_type(t.oid, NULL), concat_ws(' ', t.typtype, t.typbasetype::regtype, t.typnotnull, t.typdefault,
       t.typowner::regrole,
       ARRAY(SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
       ARRAY(SELECT pg_get_constraintdef(o.oid) FROM pg_constraint o WHERE o.contypid = t.oid ORDER BY 1),
       ARRAY(SELECT x::text FROM unnest(coalesce(t.typacl, acldefault('T', t.typowner))) x ORDER BY 1))
  FROM pg_type t
 WHERE t.typnamespace = 'public'::regnamespace AND t.typtype <> 'c' AND t.typelem = 0

-- kind: operator
SELECT o.oid::regoperator, concat_ws(' ', o.oprcode, o.oprowner::regrole)
  FROM pg_operator o
 WHERE o.oprnamespace = 'public'::regnamespace

-- kind: extension
SELECT extname, extversion FROM pg_extension

-- kind: event trigger
SELECT evtname, concat_ws(' ', evtevent, evtfoid::regproc, evtenabled, evttags) FROM pg_event_trigger

-- kind: statistics
SELECT s.stxname, concat_ws(' ', pg_get_statisticsobjdef(s.oid),
       coalesce(to_jsonb(s) ->> 'stxstattarget', '-1'))  -- null is the default since PostgreSQL 17
  FROM pg_statistic_ext s

-- kind: policy
SELECT format('%s.%s', tablename, policyname), p FROM pg_policies p

-- kind: publication
SELECT p.pubname, concat_ws(' ', to_jsonb(p) - '{oid,pubowner}'::text[],
       ARRAY(SELECT concat_ws(' ', t.tablename, t.attnames, t.rowfilter) FROM pg_publication_tables t
              WHERE t.pubname = p.pubname ORDER BY 1))
  FROM pg_publication p

-- kind: schema
SELECT n.nspname, concat_ws(' ', n.nspowner::regrole,
       ARRAY(SELECT x::text FROM unnest(coalesce(n.nspacl, acldefault('n', n.nspowner))) x ORDER BY 1))
  FROM pg_namespace n
 WHERE n.nspname !~ '^pg_(toast|temp)'

-- kind: database
SELECT 'this one', concat_ws(' ', d.datdba::regrole, pg_encoding_to_char(d.encoding),
       ARRAY(SELECT x::text FROM unnest(coalesce(d.datacl, acldefault('d', d.datdba))) x ORDER BY 1))
  FROM pg_database d
 WHERE d.datname = current_database()

-- kind: setting
SELECT CASE s.setrole WHEN 0 THEN 'of all' ELSE s.setrole::regrole::text END, s.setconfig
  FROM pg_db_role_setting s
 WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())

-- kind: default privilege
SELECT concat_ws(' ', d.defaclrole::regrole, d.defaclnamespace::regnamespace, d.defaclobjtype),
       ARRAY(SELECT x::text FROM unnest(d.defaclacl) x ORDER BY 1)
  FROM pg_default_acl d

-- kind: role
-- Those that something in this database is granted to or belongs to.
SELECT r.rolname, to_jsonb(r) - '{oid,rolpassword}'::text[]
  FROM pg_roles r
 WHERE r.oid IN (SELECT d.refobjid FROM pg_shdepend d
                  WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype IN ('a', 'o')
                    AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))

-- kind: membership
-- Of these roles in others.
SELECT format('of %s in %s by %s', m.member::regrole, m.roleid::regrole, m.grantor::regrole),
       to_jsonb(m) - '{oid,roleid,member,grantor}'::text[]
  FROM pg_auth_members m
 WHERE m.member IN (SELECT d.refobjid FROM pg_shdepend d
                     WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype IN ('a', 'o')
                       AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))

-- kind: comment
SELECT concat_ws(' ', o.type, o.identity, nullif(d.objsubid, 0)), d.description
  FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) o
 WHERE d.objoid >= 16384 OR o.identity = 'public'
