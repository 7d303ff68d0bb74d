-- The roles that a database needs, as statements that create those which are missing: ours, those that own something
-- in it or are granted something on it, and the logins that are members of them; and who may connect. What exists
-- already stays as it is. Superusers are nobody's to bring.
WITH RECURSIVE needed (id) AS (
    SELECT oid FROM pg_roles WHERE rolname LIKE 'eventstore\_%'
     UNION
    SELECT d.refobjid FROM pg_shdepend d
      JOIN pg_database b ON b.datname = current_database()
       AND (d.dbid = b.oid OR (d.dbid = 0 AND d.classid = 'pg_database'::regclass AND d.objid = b.oid))
     WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype IN ('o', 'a')
     UNION
    SELECT m.member FROM needed n JOIN pg_auth_members m ON m.roleid = n.id
), role AS (
    SELECT r.* FROM pg_roles r WHERE r.oid IN (SELECT id FROM needed) AND r.rolname !~ '^pg_' AND NOT r.rolsuper
)
SELECT format('DO $roles$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %1$L) THEN '
              'CREATE ROLE %1$I %2$s %3$s CONNECTION LIMIT %4$s%5$s; END IF; END $roles$;',
              rolname, CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
              CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, rolconnlimit,
              /* password */ '' /* … */), 1 AS nth, rolname
  FROM role
 UNION
SELECT format('DO $roles$ BEGIN IF NOT pg_has_role(%2$L, %1$L, ''MEMBER'') THEN '
              'GRANT %1$I TO %2$I; END IF; END $roles$;', g.rolname, m.rolname), 2, m.rolname
  FROM pg_auth_members a JOIN role g ON g.oid = a.roleid JOIN role m ON m.oid = a.member
 UNION
SELECT format('DO $roles$ BEGIN EXECUTE format(''GRANT CONNECT ON DATABASE %%I TO %s'', current_database()); END $roles$;',
              coalesce(quote_ident(g.rolname), 'PUBLIC')), 3, g.rolname
  FROM pg_database b
  CROSS JOIN aclexplode(coalesce(b.datacl, acldefault('d', b.datdba))) a
  LEFT JOIN role g ON g.oid = a.grantee
 WHERE b.datname = current_database() AND a.privilege_type = 'CONNECT' AND (g.oid IS NOT NULL OR a.grantee = 0)
 ORDER BY 2, 3, 1
