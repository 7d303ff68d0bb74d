"""What a promotion would change: the candidate against the live table, at the same watermark."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from eventstore.domain.folding import Folding
from eventstore.log.connection import Connection
from eventstore.readmodels.candidate import candidate, catch_up
from eventstore.readmodels.projection import ORDERS, Projection
from eventstore.readmodels.refresh import refresh
from eventstore.readmodels.rows import column_list
from eventstore.readmodels.watermark import lock

SAMPLE = 25


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One order that a promotion would change; only the columns that differ."""

    order_id: UUID
    before: dict[str, Any] | None  #: None for an order that would be added
    after: dict[str, Any] | None  #: None for an order that would be gone


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
    orders: int  #: in the candidate
    added: int
    gone: int
    changed: int
    quarantined: int  #: orders of the candidate that show only the events before one that fails
    columns: dict[str, int]  #: how many orders change in each column
    totals: list[Total]
    sample: list[Difference]

    @property
    def differences(self) -> int:
        return self.added + self.gone + self.changed


def preview(
    connection: Connection,
    projection: Projection[Any] = ORDERS,
    *,
    folding: Folding | None = None,
    sample: int = SAMPLE,
) -> Preview | None:
    """Bring the live table and the candidate to the same watermark and compare them.

    ``sample`` limits the orders that are shown before and after. None without a complete candidate by
    ``folding``, by default the current rules.
    """
    folding = folding or projection.current
    refresh(connection, projection)
    with connection.transaction():
        standing = lock(connection, projection)
        found = candidate(connection, projection, folding, lock=True)
        if not found.complete:
            return None
        until = max(standing.watermark, *found.watermarks)
        catch_up(connection, projection, folding, min(found.watermarks), until)
        counts = _count(connection, projection)
        return Preview(
            live_version=standing.fold_version,
            candidate_version=folding.version,
            watermark=until,
            orders=counts.pop("orders"),
            added=counts.pop("added"),
            gone=counts.pop("gone"),
            changed=counts.pop("changed"),
            quarantined=counts.pop("quarantined"),
            columns={column: count for column, count in counts.items() if count},
            totals=_totals(connection, projection),
            sample=_sample(connection, projection, sample),
        )


def _compared(projection: Projection[Any]) -> list[str]:
    """Whose rules made a row says nothing about the order."""
    return [column for column in projection.columns if column not in {"order_id", "fold_version"}]


def _names(projection: Projection[Any]) -> dict[str, sql.Composable]:
    compared = _compared(projection)
    return {
        "live": sql.Identifier(projection.name),
        "candidate": sql.Identifier(projection.candidate),
        "columns": column_list(projection),
        "live_row": sql.SQL(", ").join(sql.Identifier("o", column) for column in compared),
        "new_row": sql.SQL(", ").join(sql.Identifier("c", column) for column in compared),
    }


def _count(connection: Connection, projection: Projection[Any]) -> dict[str, int]:
    per_column = sql.SQL(", ").join(
        sql.SQL(
            "count(*) FILTER (WHERE o.order_id IS NOT NULL AND c.order_id IS NOT NULL "
            "AND o.{0} IS DISTINCT FROM c.{0}) AS {0}"
        ).format(sql.Identifier(column))
        for column in _compared(projection)
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            sql.SQL(
                "SELECT count(c.order_id) AS orders, count(*) FILTER (WHERE o.order_id IS NULL) AS added, "
                "count(*) FILTER (WHERE c.order_id IS NULL) AS gone, "
                "count(*) FILTER (WHERE o.order_id IS NOT NULL AND c.order_id IS NOT NULL "
                "AND ({live_row}) IS DISTINCT FROM ({new_row})) AS changed, "
                "(SELECT count(*) FROM quarantine WHERE projection = {name}) AS quarantined, {per_column} "
                "FROM {live} o FULL JOIN {candidate} c ON c.order_id = o.order_id"
            ).format(per_column=per_column, name=projection.candidate, **_names(projection))
        ).fetchone()
    assert row is not None
    return row


def _totals(connection: Connection, projection: Projection[Any]) -> list[Total]:
    money = [
        field.name
        for field in msgspec.structs.fields(projection.state_type)
        if field.type is Decimal or Decimal in getattr(field.type, "__args__", ())
    ]
    if not money or "currency" not in projection.columns:
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
    rows = connection.execute(
        sql.SQL(
            "SELECT coalesce(o.order_id, c.order_id), to_jsonb(o), to_jsonb(c) "
            "FROM {live} o FULL JOIN {candidate} c ON c.order_id = o.order_id "
            "WHERE ({live_row}) IS DISTINCT FROM ({new_row}) ORDER BY 1 LIMIT {limit}"
        ).format(limit=limit, **_names(projection))
    ).fetchall()
    return [_difference(order_id, before, after, _compared(projection)) for order_id, before, after in rows]


def _difference(
    order_id: UUID, before: dict[str, Any] | None, after: dict[str, Any] | None, compared: list[str]
) -> Difference:
    if before is None or after is None:
        columns = compared
    else:
        columns = [column for column in compared if before[column] != after[column]]
    return Difference(
        order_id=order_id,
        before=before and {column: before[column] for column in columns},
        after=after and {column: after[column] for column in columns},
    )
