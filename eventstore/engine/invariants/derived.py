"""What must hold of a derived table: brought up to its source, it is what a rebuild makes of that."""

from functools import partial

import psycopg
from psycopg import sql

from eventstore.engine.derived import Derived, bring_up, forget_notes
from eventstore.engine.prover import Finding, Proof, Share
from eventstore.engine.standing import register
from eventstore.log.connection import Connection, one_moment
from eventstore.log.counting import count_rows

_NAMED = 100


def derived_proof(derived: Derived) -> Proof:
    """Made twice, in temporary tables: once by what was noted since its last refresh, once from nothing."""
    return Proof(
        name=derived.name,
        description=f"{derived.name} is what a rebuild from {derived.source.name} makes of it.",
        prove=lambda connection, _, __: _prove(derived, connection),
        again=lambda connection, _: _prove(derived, connection).findings,
        total=partial(_rows, derived),
        in_one=True,
    )


def _rows(derived: Derived, connection: Connection) -> int:
    return count_rows(connection, derived.source.name).rows


def _prove(derived: Derived, connection: Connection) -> Share:
    rows = _rows(derived, connection)
    with one_moment(connection):
        # As long as the transaction lasts, these hide the tables whose names they have: what writes those
        # writes here. None of them outlives it.
        for hidden in (
            "projections",
            derived.name,
            *derived.sums,
            *(f"{queue}_changes" for queue in (derived.name, *derived.queues)),
        ):
            _hide(connection, hidden)
        register(connection, derived.source.name, derived.source.fold_version)
        register(connection, derived.name, derived.source.fold_version)
        try:
            with connection.transaction():
                bring_up(connection, derived, rebuild=False)
        except psycopg.IntegrityError as error:
            what = f"what was noted for it does not fit its rows: {error.diag.message_primary}"
            return Share(None, rows, [Finding(derived.name, what)])
        tables = [_Table(connection, table) for table in (derived.name, *derived.sums)]
        for table in tables:
            table.keep()
        forget_notes(connection, derived)
        bring_up(connection, derived, rebuild=True)
        return Share(None, rows, [finding for table in tables for finding in table.differences()])


def _hide(connection: Connection, table: str) -> None:
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {table} (LIKE public.{table} INCLUDING ALL) ON COMMIT DROP;"
            "INSERT INTO {table} SELECT * FROM public.{table};"
            "ANALYZE {table}"
        ).format(table=sql.Identifier(table))
    )


class _Table:
    """A table of the first making, to be compared with the second."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection, self._name = connection, name
        self._names = {"table": sql.Identifier(name), "kept": sql.Identifier(f"{name}_kept")}

    def keep(self) -> None:
        self._connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {kept} ON COMMIT DROP AS TABLE {table}").format(**self._names)
        )

    def differences(self) -> list[Finding]:
        """The rows that only one of the two has, by their primary key."""
        key = _key(self._connection, self._name)
        rows = self._connection.execute(
            sql.SQL(
                "SELECT {key}, (array_agg(side ORDER BY side)) FROM ("
                "SELECT *, 'has' AS side FROM (TABLE {kept} EXCEPT TABLE {table}) a UNION ALL "
                "SELECT *, 'lacks' FROM (TABLE {table} EXCEPT TABLE {kept}) b) AS both_sides "
                "GROUP BY {key} ORDER BY {key} LIMIT {limit}"
            ).format(**self._names, key=sql.SQL(", ").join(map(sql.Identifier, key)), limit=_NAMED)
        )
        return [
            Finding(f"{self._name} {', '.join(map(str, values))}", _IN_WORDS[tuple(sides)], table=self._name)
            for *values, sides in rows
        ]


_IN_WORDS = {
    ("has",): "this row is there, and a rebuild does not make it: run `eventstore rebuild`",
    ("lacks",): "this row is not there, and a rebuild makes it: run `eventstore rebuild`",
    ("has", "lacks"): "a rebuild makes another row of it: run `eventstore rebuild`",
}


def _key(connection: Connection, table: str) -> list[str]:
    """The columns of its primary key, or all of them."""
    rows = connection.execute(
        "SELECT a.attname FROM pg_attribute a "
        "LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary "
        "WHERE a.attrelid = ('public.' || quote_ident(%s))::regclass AND a.attnum > 0 AND NOT a.attisdropped "
        "AND (i.indkey IS NULL OR a.attnum = ANY(i.indkey)) ORDER BY a.attnum",
        (table,),
    ).fetchall()
    return [column for (column,) in rows]
