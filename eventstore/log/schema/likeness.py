"""What a partition has of its own, beside what it has from the table that it is a part of."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg

_INDEXES = """
    SELECT pg_get_indexdef(x.indexrelid)
      FROM pg_index x LEFT JOIN pg_inherits h ON h.inhrelid = x.indexrelid
     WHERE x.indrelid = %s AND h.inhrelid IS NULL ORDER BY x.indexrelid
"""
_TRIGGERS = """
    SELECT pg_get_triggerdef(oid), quote_ident(tgname), CASE tgenabled
               WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'D' THEN 'DISABLE' END
      FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal AND tgparentid = 0 ORDER BY tgname
"""
_GRANTS = """
    SELECT g.privilege_type || g.columns, coalesce(quote_ident(r.rolname), 'PUBLIC'),
           CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
      FROM (SELECT a.grantee, a.privilege_type, a.is_grantable, '' AS columns, c.relowner
              FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = %(table)s
             UNION ALL
            SELECT a.grantee, a.privilege_type, a.is_grantable, format(' (%%I)', t.attname), c.relowner
              FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
             WHERE c.oid = %(table)s) g
      LEFT JOIN pg_roles r ON r.oid = g.grantee
     WHERE g.grantee <> g.relowner ORDER BY 2, 1
"""
_OPTIONS = "SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = %s"


class Likeness(NamedTuple):
    """Of a partition, to make others like it."""

    table: str
    definitions: list[str]  #: of indexes and triggers: names in them begin with, or are, that of the table
    triggers: list[tuple[str, str]]  #: how each is enabled that is not as usual
    grants: list[tuple[str, str, str]]
    options: str | None

    def of(self, table: str) -> Iterator[str]:
        """The statements that give all that to another partition."""
        name = f'"{table}"'
        for definition in self.definitions:
            yield definition.replace(self.table, table)
        for trigger, enabling in self.triggers:
            yield f"ALTER TABLE {name} {enabling} TRIGGER {trigger}"
        for privilege, role, option in self.grants:
            yield f"GRANT {privilege} ON {name} TO {role}{option}"
        if self.options:
            yield f"ALTER TABLE {name} SET ({self.options})"


def likeness(connection: psycopg.Connection[Any], oid: int, table: str) -> Likeness:
    """Of the partition of that oid and name."""
    triggers = connection.execute(_TRIGGERS, (oid,)).fetchall()
    indexes = [definition for (definition,) in connection.execute(_INDEXES, (oid,))]
    (options,) = connection.execute(_OPTIONS, (oid,)).fetchone() or (None,)
    return Likeness(
        table=table,
        definitions=indexes + [definition for definition, _, _ in triggers],
        triggers=[(name, enabling) for _, name, enabling in triggers if enabling],
        grants=connection.execute(_GRANTS, {"table": oid}).fetchall(),
        options=options,
    )
