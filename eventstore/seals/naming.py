"""Name the events that were found to differ: their ids, orders and versions, and what became of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from eventstore.log.connection import Connection
from eventstore.seals.leaves import LEAF
from eventstore.seals.problems import Difference, Problem

_HERE = Path(__file__).parent / "sql"
_RENAMED = sql.SQL((_HERE / "leaf_under_another_id.sql").read_text(encoding="utf-8"))
_MISSING = sql.SQL((_HERE / "missing_versions.sql").read_text(encoding="utf-8"))
#: So many pairs of a removed and an inserted event of a bucket are tried, a query each.
_TRIED = 500
#: So many removed events of a bucket are looked for in the orders that lack a version.
_LOOKED_FOR = 200

Tables = Mapping[int, sql.Identifier]


class _Name(NamedTuple):
    order_id: UUID
    version: int


def name(connection: Connection, tables: Tables, differences: Sequence[Difference]) -> list[Problem]:
    """A problem an event."""
    names = _names(connection, tables, differences)
    newest = _newest_id(connection, tables)
    moved, rest = _moved(connection, tables, differences)
    problems = []
    for here, there, what in moved:
        found = names.get((there.bucket, there.id))
        problems.append(_problem("moved", here, found, what))
    lacking = _lacking(connection, tables, rest)
    for one in rest:
        found = names.get((one.bucket, one.id)) or lacking.get(one)
        if one.kind == "removed" and (newest is None or one.id > newest):
            problems.append(_problem("cut_off", one, found, "it is gone, and no event is left behind it"))
        else:
            problems.append(_problem(one.kind, one, found, _WORDS[one.kind]))
    return sorted(problems, key=lambda problem: str(problem.id))


_WORDS = {
    "altered": "a column of it is not as it was sealed",
    "inserted": "it was not there when everything around it was sealed",
    "removed": "it was sealed, and is gone",
}


def _problem(kind: str, one: Difference, found: _Name | None, detail: str) -> Problem:
    return Problem(
        kind=kind,
        detail=detail,
        id=UUID(bytes=one.id),
        order_id=found.order_id if found else None,
        version=found.version if found else None,
        bucket=one.bucket,
    )


def _names(
    connection: Connection, tables: Tables, differences: Sequence[Difference]
) -> dict[tuple[int, bytes], _Name]:
    """Orders and versions of those that are there."""
    found = {}
    for bucket, table in tables.items():
        wanted = [UUID(bytes=one.id) for one in differences if one.bucket == bucket and one.kind != "removed"]
        rows = connection.execute(
            sql.SQL("SELECT id, order_id, version FROM {table} WHERE id = ANY(%s)").format(table=table),
            (wanted,),
        )
        for id_, order_id, version in rows if wanted else []:
            found[bucket, id_.bytes] = _Name(order_id, version)
    return found


def _newest_id(connection: Connection, tables: Tables) -> bytes | None:
    """Of the whole log."""
    found: list[bytes] = []
    for table in tables.values():
        row = connection.execute(
            sql.SQL("SELECT id FROM {table} ORDER BY id DESC LIMIT 1").format(table=table)
        ).fetchone()
        found += [row[0].bytes] if row else []
    return max(found, default=None)


def _moved(
    connection: Connection, tables: Tables, differences: Sequence[Difference]
) -> tuple[list[tuple[Difference, Difference, str]], list[Difference]]:
    """Pairs of a removed and an inserted event that are one event, and all others."""
    removed = {(one.id, one.bucket): one for one in differences if one.kind == "removed"}
    left = dict.fromkeys(tables, _TRIED)
    pairs = []
    for one in (one for one in differences if one.kind == "inserted"):
        same = next(
            (
                removed[one.id, bucket]
                for bucket in tables
                if bucket != one.bucket and (one.id, bucket) in removed
            ),
            None,
        )
        if same is not None:
            pairs.append((same, one, "it stands in another order than when it was sealed"))
        else:
            for other in [other for other in removed.values() if other.bucket == one.bucket][
                : left[one.bucket]
            ]:
                left[one.bucket] -= 1
                if _leaf_under(connection, tables[one.bucket], one.id, other.id) == other.sealed:
                    same = other
                    new = UUID(bytes=one.id)
                    pairs.append((same, one, f"its id was changed to {new}, so that it stands elsewhere"))
                    break
        if same is not None:
            del removed[same.id, same.bucket]
    paired = {id(one) for pair in pairs for one in pair[:2]}
    return pairs, [one for one in differences if id(one) not in paired]


def _leaf_under(
    connection: Connection, table: sql.Identifier, found_under: bytes, id_: bytes
) -> bytes | None:
    row = connection.execute(
        _RENAMED.format(leaf=LEAF, bucket=table),
        {"id": UUID(bytes=id_), "found_under": UUID(bytes=found_under)},
        binary=True,
    ).fetchone()
    return bytes(row[0]) if row else None


def _lacking(
    connection: Connection, tables: Tables, differences: Sequence[Difference]
) -> dict[Difference, _Name]:
    """The orders and versions of events that are gone, where just one order lacks a version at that place."""
    found = {}
    for bucket, table in tables.items():
        gone = [one for one in differences if one.bucket == bucket and one.kind == "removed"][:_LOOKED_FOR]
        if not gone:
            continue
        holes = connection.execute(_MISSING.format(bucket=table)).fetchall()
        for one in gone:
            fitting = [
                _Name(order_id, version)
                for order_id, version, before, after in holes
                if before.bytes < one.id < after.bytes
            ]
            if len(fitting) == 1:
                found[one] = fitting[0]
    return found
