"""Our functions run with their owner's rights: nobody else may put functions or operators in their way."""

from sqlalchemy import Connection, text

from eventstore.server.errors import ServerError

#: What roles other than superusers and the owner of the log may create, or have created, in public, each
#: with the statement that ends it. PUBLIC loses its right in revision 0001.
_STRANGERS = text(
    """
    WITH trusted AS (
        SELECT r.oid, r.rolname FROM pg_roles r, pg_class log
         WHERE log.oid = 'public.order_events'::regclass AND (r.rolsuper OR r.oid = log.relowner)
    ), allowed AS (
        SELECT oid FROM trusted
         UNION
        SELECT 'pg_database_owner'::regrole FROM pg_database
         WHERE datname = current_database() AND datdba IN (SELECT oid FROM trusted)
    )
    SELECT format('%s may create objects in the schema public', coalesce(r.rolname, 'PUBLIC')),
           format('REVOKE CREATE ON SCHEMA public FROM %s', coalesce(quote_ident(r.rolname), 'PUBLIC'))
      FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
      LEFT JOIN pg_roles r ON r.oid = a.grantee
     WHERE n.nspname = 'public' AND a.privilege_type = 'CREATE' AND a.grantee NOT IN (SELECT oid FROM allowed)
       AND a.grantee <> n.nspowner
     UNION ALL
    SELECT format('the schema public belongs to %s', r.rolname),
           CASE WHEN r.rolname = 'pg_database_owner'
                THEN format('ALTER DATABASE %I OWNER TO %I', current_database(), current_user)
                ELSE format('ALTER SCHEMA public OWNER TO %I', current_user) END
      FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
     WHERE n.nspname = 'public' AND r.oid NOT IN (SELECT oid FROM allowed)
     UNION ALL
    SELECT format('the function %s belongs to %s', p.oid::regprocedure, r.rolname),
           format('DROP ROUTINE %s', p.oid::regprocedure)
      FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
     WHERE p.pronamespace = 'public'::regnamespace AND r.oid NOT IN (SELECT oid FROM allowed)
     UNION ALL
    SELECT format('the operator %s belongs to %s', o.oid::regoperator, r.rolname),
           format('DROP OPERATOR %s', o.oid::regoperator)
      FROM pg_operator o JOIN pg_roles r ON r.oid = o.oprowner
     WHERE o.oprnamespace = 'public'::regnamespace AND r.oid NOT IN (SELECT oid FROM allowed)
    """
)


def refuse_strangers(connection: Connection) -> None:
    """Raise ServerError where somebody else could replace what our functions call: they look names up in the
    schema public.
    """
    found = connection.execute(_STRANGERS).fetchall()
    if found:
        what = "; ".join(problem for problem, _ in found)
        remedy = "; ".join(f"{statement};" for _, statement in found)
        raise ServerError(
            f"functions that run with the rights of this database's owner could be tampered with: {what}. "
            f"An administrator mends that with: {remedy}"
        )
