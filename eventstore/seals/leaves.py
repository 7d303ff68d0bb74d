"""Leaf hashes of the log, computed by the server from the rows as they are stored."""

import re
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from eventstore.log.connection import Connection

_HERE = Path(__file__).parent / "sql"
_BUCKETS = (_HERE / "buckets.sql").read_text(encoding="utf-8")
LEAF = sql.SQL((_HERE / "leaf_1.sql").read_text(encoding="utf-8"))
_LEAVES = sql.SQL((_HERE / "leaves.sql").read_text(encoding="utf-8"))
_BOUND = re.compile(r"modulus ([0-9]+), remainder ([0-9]+)", re.IGNORECASE)

BEGINNING = UUID(int=0)


class Leaves(NamedTuple):
    events: int
    ids: bytes  #: 16 bytes each
    hashes: bytes  #: 32 bytes each


def buckets(connection: Connection, number: int) -> dict[int, sql.Identifier]:
    """The tables of so many buckets: what `order_events` consists of now, whatever the tables are called. One
    that holds other rows than a bucket of that number does is none.
    """
    found = {}
    for bound, schema, table in connection.execute(_BUCKETS):
        if (said := _BOUND.search(bound)) and int(said[1]) == number:
            found[int(said[2])] = sql.Identifier(schema, table)
    return found


def read_leaves(connection: Connection, table: sql.Identifier, after: UUID, until: UUID) -> Leaves:
    """The leaves of the events of a bucket with ids above ``after``, not above ``until``."""
    row = connection.execute(
        _LEAVES.format(leaf=LEAF, bucket=table), {"after": after, "until": until}, binary=True
    ).fetchone()
    assert row is not None
    return Leaves(*row)


def prefer_index(connection: Connection) -> None:
    """Until the transaction ends, read a range of ids by the index on them, whatever the statistics say."""
    connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
