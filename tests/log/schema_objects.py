"""Every object of a database's schema with all that it is, as text: to compare one database with another."""

from typing import Any

import psycopg

_RELATION = "c.relnamespace = 'public'::regnamespace AND c.relkind IN"

#: By kind: the names of the objects, and how each is, in words that are the same in every database.
_QUERIES = {
    "relation": f"""
        SELECT c.oid::regclass, concat_ws(' ', c.relkind, c.relpersistence, c.reloptions, c.relrowsecurity,
               c.relforcerowsecurity, c.relreplident, pg_get_partkeydef(c.oid),
               pg_get_expr(c.relpartbound, c.oid),
               (SELECT i.inhparent::regclass FROM pg_inherits i WHERE i.inhrelid = c.oid),
               CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
               c.relowner = current_user::regrole, obj_description(c.oid, 'pg_class'))
          FROM pg_class c WHERE {_RELATION} ('r', 'p', 'v', 'm', 'S', 'f')""",
    "column": f"""
        SELECT format('%s.%s', c.oid::regclass, a.attname), concat_ws(' ', a.attnum,
               format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
               a.attstorage, a.attcompression, a.attcollation::regcollation, a.attislocal, a.attinhcount,
               -- Debian's PostgreSQL 15 gives every column an option of its own.
               (SELECT array_agg(o) FROM unnest(a.attoptions) o WHERE o !~ '^pg_attver='),
               pg_get_expr(b.adbin, b.adrelid), a.attacl, col_description(a.attrelid, a.attnum))
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          LEFT JOIN pg_attrdef b ON b.adrelid = a.attrelid AND b.adnum = a.attnum
         WHERE {_RELATION} ('r', 'p', 'v', 'm', 'f')""",
    "constraint": f"""
        SELECT format('%s.%s', c.oid::regclass, o.conname), concat_ws(' ', pg_get_constraintdef(o.oid),
               o.convalidated, o.conislocal, o.coninhcount, obj_description(o.oid, 'pg_constraint'))
          FROM pg_class c JOIN pg_constraint o ON o.conrelid = c.oid WHERE {_RELATION} ('r', 'p')""",
    "index": f"""
        SELECT c.oid::regclass, concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisclustered,
               i.indisreplident, c.reloptions)
          FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid WHERE {_RELATION} ('i', 'I')""",
    "trigger": f"""
        SELECT format('%s.%s', c.oid::regclass, t.tgname), concat_ws(' ', pg_get_triggerdef(t.oid),
               t.tgenabled, t.tgparentid <> 0)
          FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid
         WHERE {_RELATION} ('r', 'p', 'v') AND NOT t.tgisinternal""",
    "rule": f"""
        SELECT format('%s.%s', c.oid::regclass, r.rulename), pg_get_ruledef(r.oid)
          FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE {_RELATION} ('r', 'p', 'v', 'm')""",
    "sequence": f"""
        SELECT c.oid::regclass, concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin,
               s.seqmax, s.seqcache, s.seqcycle)
          FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid WHERE {_RELATION} ('S')""",
    "grant": f"""
        SELECT format('%s to %s', c.oid::regclass, coalesce(r.rolname, 'PUBLIC')),
               string_agg(concat_ws(' ', a.privilege_type, a.is_grantable), ', ' ORDER BY a.privilege_type)
          FROM pg_class c, aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
         WHERE {_RELATION} ('r', 'p', 'v', 'm', 'S', 'f') AND a.grantee <> c.relowner
         GROUP BY c.oid, r.rolname""",
    "function": """
        SELECT p.oid::regprocedure, concat_ws(' ', pg_get_functiondef(p.oid), p.provolatile, p.proparallel,
               p.prosecdef, p.proleakproof, p.procost, p.prorows, p.proconfig,
               p.proowner = current_user::regrole, obj_description(p.oid, 'pg_proc'))
          FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind IN ('f', 'p')""",
    "aggregate": """
        SELECT p.oid::regprocedure, p.prokind
          FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind NOT IN ('f', 'p')""",
    "execute": """
        SELECT format('%s by %s', p.oid::regprocedure, coalesce(r.rolname, 'PUBLIC')), a.is_grantable
          FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
          LEFT JOIN pg_roles r ON r.oid = a.grantee
         WHERE p.pronamespace = 'public'::regnamespace AND a.grantee <> p.proowner""",
    "type": """
        SELECT format_type(t.oid, NULL), t.typtype FROM pg_type t
         WHERE t.typnamespace = 'public'::regnamespace AND t.typtype <> 'c' AND t.typelem = 0""",
    "operator": """
        SELECT o.oid::regoperator, o.oprcode FROM pg_operator o
         WHERE o.oprnamespace = 'public'::regnamespace""",
    "extension": "SELECT extname, extversion FROM pg_extension",
    "event trigger": """
        SELECT evtname, concat_ws(' ', evtevent, evtfoid::regproc, evtenabled) FROM pg_event_trigger""",
    "statistics": "SELECT stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext",
    "policy": "SELECT format('%s.%s', tablename, policyname), p FROM pg_policies p",
    "publication": "SELECT pubname, pubviaroot FROM pg_publication",
    "schema": r"""
        SELECT format('%s to %s', n.nspname, coalesce(r.rolname, 'PUBLIC')),
               string_agg(concat_ws(' ', a.privilege_type, a.is_grantable), ', ' ORDER BY a.privilege_type)
          FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
          LEFT JOIN pg_roles r ON r.oid = a.grantee
         WHERE n.nspname !~ '^pg_(toast|temp)' GROUP BY n.nspname, r.rolname""",
    "default privilege": "SELECT d.oid::text, d FROM pg_default_acl d",
}


def objects(connection: psycopg.Connection[Any]) -> dict[tuple[str, str], str]:
    """How each object is, by its kind and name."""
    found: dict[tuple[str, str], str] = {}
    for kind, query in _QUERIES.items():
        rows = connection.execute(f"SELECT q.name::text, q.how::text FROM ({query}) q (name, how)").fetchall()
        for name, how in rows:
            assert (kind, name) not in found, f"two of them: {kind} {name}"
            found[kind, name] = how
    return found
