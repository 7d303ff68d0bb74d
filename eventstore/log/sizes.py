"""How much room Dagster takes beside the store."""

from eventstore.log.connection import Connection


def dagster_bytes(connection: Connection) -> int | None:
    """The size of Dagster's own database on this server; None where there is none, or one may not ask."""
    row = connection.execute(
        "SELECT pg_database_size(oid) FROM pg_database WHERE datname = current_database() || '_dagster' "
        "AND (has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE'))"
    ).fetchone()
    return row[0] if row else None
