"""The ways into the log, for good and for bad: what is refused, is refused with a reason."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg

from tests.robustness.naive import Given, as_json

Connection = psycopg.Connection[Any]

#: Classes of SQLSTATE that tell callers of their mistake: bad data, a constraint, beyond what the server
#: takes, another version than expected.
_REASONS = ("22", "23", "54", "ES")


@contextmanager
def writer(url: str) -> Iterator[Connection]:
    """A session with the least privileges that can append."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET ROLE eventstore_writer")
        yield connection


def append(
    connection: Connection,
    order: UUID,
    events: str,
    expected: int | None = None,
    function: str = "append_events",
) -> bool:
    """Whether ``events``, a JSON text, were taken; if not, a reason is given."""
    try:
        connection.execute(f"SELECT {function}(%s, %s::jsonb, %s)", (order, events, expected))
    except psycopg.Error as refused:
        is_refused_with_a_reason(refused)
        return False
    return True


def append_good(connection: Connection, order: UUID, *events: Given) -> None:
    assert append(connection, order, json.dumps([as_json(event) for event in events]))


def is_refused_with_a_reason(refused: psycopg.Error) -> None:
    said = refused.diag.message_primary or ""
    assert not re.search(r"[\x00-\x1f]", said), said
    assert 10 < len(said) < 500, said
    assert refused.sqlstate, refused
    assert refused.sqlstate.startswith(_REASONS), refused
