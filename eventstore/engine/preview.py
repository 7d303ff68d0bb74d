"""What a promotion would change: the candidate against the live table, at the same watermark."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.engine.candidate import candidate, catch_up, reach
from eventstore.engine.difference import names_of
from eventstore.engine.projection import Projection
from eventstore.engine.refresh import refresh
from eventstore.engine.standing import lock
from eventstore.kernel.folding import Folding
from eventstore.log.connection import Connection

SAMPLE = 25


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One row that a promotion would change; only the columns that differ."""

    order_id: UUID
    which: dict[str, Any] = {}  #: the rest of the row's key, where a table has several rows per order
    before: dict[str, Any] | None  #: None for a row that would be added
    after: dict[str, Any] | None  #: None for a row that would be gone


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of a money column over the orders of one currency."""

    column: str
    currency: str | None
    before: Decimal
    after: Decimal


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a promotion would change."""

    live_version: str  #: the rules of the live table
    candidate_version: str
    watermark: UUID
    orders: int  #: rows in the candidate: one per order, unless the layout has more
    added: int
    gone: int
    changed: int
    quarantined: int  #: orders of the candidate that show only the events before one that fails
    columns: dict[str, int]  #: how many rows change in each column
    totals: list[Total]
    sample: list[Difference]

    @property
    def differences(self) -> int:
        return self.added + self.gone + self.changed


def preview(
    connection: Connection,
    projection: Projection[Any],
    *,
    folding: Folding | None = None,
    sample: int = SAMPLE,
) -> Preview | None:
    """Bring the live table and the candidate to the same watermark and compare them.

    ``sample`` limits the rows that are shown before and after. None without a complete candidate by
    ``folding``, by default the current rules.
    """
    folding = folding or projection.current
    refresh(connection, projection)
    with connection.transaction():
        live = lock(connection, projection.name)
        found = candidate(connection, projection, folding, lock=True)
        if not found.complete:
            return None
        until = reach(connection, found, live.watermark)
        catch_up(connection, projection, folding, min(found.watermarks), until)
        counts, columns = _count(connection, projection)
        return Preview(
            live_version=live.fold_version,
            candidate_version=folding.version,
            watermark=until,
            **counts,
            columns=columns,
            totals=_totals(connection, projection),
            sample=_sample(connection, projection, sample),
        )


def _compared(projection: Projection[Any]) -> list[str]:
    """Whose rules made a row says nothing about the order."""
    left_out = {*projection.layout.key, "fold_version"}
    return [column for column in projection.table_columns if column not in left_out]


def _names(projection: Projection[Any]) -> dict[str, sql.Composable]:
    compared = _compared(projection)
    return names_of(projection) | {
        "live_row": sql.SQL(", ").join(sql.Identifier("o", column) for column in compared),
        "new_row": sql.SQL(", ").join(sql.Identifier("c", column) for column in compared),
    }


def _count(connection: Connection, projection: Projection[Any]) -> tuple[dict[str, int], dict[str, int]]:
    """The rows in all, added, gone, changed and in quarantine; and how many change in each column."""
    both = sql.SQL("o.order_id IS NOT NULL AND c.order_id IS NOT NULL")
    compared = _compared(projection)
    per_column = [
        sql.SQL("count(*) FILTER (WHERE {both} AND o.{column} IS DISTINCT FROM c.{column})").format(
            both=both, column=sql.Identifier(column)
        )
        for column in compared
    ]
    row = connection.execute(
        sql.SQL(
            "SELECT count(c.order_id), count(*) FILTER (WHERE o.order_id IS NULL), "
            "count(*) FILTER (WHERE c.order_id IS NULL), "
            "count(*) FILTER (WHERE {both} AND ({live_row}) IS DISTINCT FROM ({new_row})), "
            "(SELECT count(*) FROM quarantine WHERE projection = {name}), {per_column} "
            "FROM {live} o FULL JOIN {candidate} c ON {same}"
        ).format(
            both=both,
            per_column=sql.SQL(", ").join(per_column),
            name=projection.candidate,
            **_names(projection),
        )
    ).fetchone()
    assert row is not None
    counts = dict(zip(("orders", "added", "gone", "changed", "quarantined"), row, strict=False))
    changes = dict(zip(compared, row[len(counts) :], strict=True))
    return counts, {column: count for column, count in changes.items() if count}


def _totals(connection: Connection, projection: Projection[Any]) -> list[Total]:
    money = [
        field.name
        for field in msgspec.structs.fields(projection.state_type)
        if field.type is Decimal or Decimal in getattr(field.type, "__args__", ())
    ]
    is_order = projection.layout.key == ("order_id",)  # a sum over all states of an order says nothing
    if not money or not is_order or "currency" not in projection.columns:
        return []
    totals: list[Total] = []
    for column in money:
        rows = connection.execute(
            sql.SQL(
                "SELECT currency, coalesce(sum(amount) FILTER (WHERE side = 'before'), 0), "
                "coalesce(sum(amount) FILTER (WHERE side = 'after'), 0) FROM ("
                "SELECT 'before' AS side, currency, {column} AS amount FROM {live} UNION ALL "
                "SELECT 'after', currency, {column} FROM {candidate}) AS both_sides "
                "GROUP BY currency ORDER BY currency"
            ).format(
                column=sql.Identifier(column),
                live=sql.Identifier(projection.name),
                candidate=sql.Identifier(projection.candidate),
            )
        )
        totals += [
            Total(column=column, currency=currency, before=before, after=after)
            for currency, before, after in rows
        ]
    return totals


def _sample(connection: Connection, projection: Projection[Any], limit: int) -> list[Difference]:
    keys = sql.SQL(", ").join(
        sql.SQL("coalesce(o.{0}, c.{0})").format(sql.Identifier(column)) for column in projection.layout.key
    )
    rows = connection.execute(
        sql.SQL(
            "SELECT to_jsonb(o), to_jsonb(c), {keys} FROM {live} o FULL JOIN {candidate} c ON {same} "
            "WHERE ({live_row}) IS DISTINCT FROM ({new_row}) ORDER BY {keys} LIMIT {limit}"
        ).format(keys=keys, limit=limit, **_names(projection))
    ).fetchall()
    return [_difference(projection, before, after, *key) for before, after, *key in rows]


def _difference(
    projection: Projection[Any],
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    order_id: UUID,
    *rest: Any,
) -> Difference:
    columns = _compared(projection)
    if before is not None and after is not None:
        columns = [column for column in columns if before[column] != after[column]]
    return Difference(
        order_id=order_id,
        which=dict(zip(projection.layout.key[1:], rest, strict=True)),
        before=before and {column: before[column] for column in columns},
        after=after and {column: after[column] for column in columns},
    )
