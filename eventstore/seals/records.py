"""Checkpoints and key notes in the database: copies of what is signed."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg

from eventstore.log.connection import Connection
from eventstore.seals.checkpoint import Signed
from eventstore.seals.folder import Place

_PAGE = 1000


def newest_note(connection: Connection) -> tuple[int, str] | None:
    """The number and the note of the newest checkpoint; None where nothing was sealed."""
    row = connection.execute(
        "SELECT number, note FROM public.seal_checkpoints ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return (row[0], row[1]) if row else None


def note_of(connection: Connection, number: int) -> str | None:
    row = connection.execute(
        "SELECT note FROM public.seal_checkpoints WHERE number = %s", (number,)
    ).fetchone()
    return str(row[0]) if row else None


class Row(NamedTuple):
    """A row of seal_checkpoints: the note, and what was copied from it."""

    number: int
    epoch: int
    size: int
    horizon: UUID
    sealed_at: datetime
    note: str


def rows(connection: Connection, first: int, last: int) -> Iterator[Row]:
    """The checkpoints from one number to another, and the newest, in order; a page of them in memory."""
    select = "SELECT number, epoch, size, horizon, sealed_at, note FROM public.seal_checkpoints"
    after = first - 1 if first > 1 else -(2**63)
    while True:
        page = connection.execute(
            f"{select} WHERE number > %s AND (number <= %s OR number = "
            "(SELECT max(number) FROM public.seal_checkpoints)) ORDER BY number LIMIT %s",
            (after, last, _PAGE),
        ).fetchall()
        if not page:
            return
        yield from (Row(*row) for row in page)
        after = page[-1][0]


def notes(connection: Connection, after: int = 0) -> Iterator[tuple[int, str]]:
    """Number and note of the checkpoints after one, the oldest first; a page of them in memory."""
    while True:
        page = connection.execute(
            "SELECT number, note FROM public.seal_checkpoints WHERE number > %s ORDER BY number LIMIT %s",
            (after, _PAGE),
        ).fetchall()
        if not page:
            return
        yield from page
        after = page[-1][0]


def record(connection: Connection, signed: Signed) -> None:
    made = signed.checkpoint
    connection.execute(
        "INSERT INTO public.seal_checkpoints (number, epoch, size, horizon, sealed_at, note) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        (made.number, made.epoch, made.size, made.horizon, made.time, signed.written),
    )


def key_notes(connection: Connection) -> list[str]:
    """The notes of all keys, the first key first."""
    return [
        row[0] for row in connection.execute("SELECT note FROM public.seal_keys ORDER BY number").fetchall()
    ]


def next_key_number(connection: Connection) -> int:
    """Behind all that are there, whoever put them there."""
    row = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM public.seal_keys").fetchone()
    assert row is not None
    return int(row[0])


def record_key(connection: Connection, number: int, vkey: str, after: int, note: str) -> bool:
    """False where a key of that number, or this key, is there already."""
    try:
        with connection.transaction():
            connection.execute(
                "INSERT INTO public.seal_keys (number, vkey, after, note) VALUES (%s, %s, %s, %s)",
                (number, vkey, after, note),
            )
    except psycopg.errors.UniqueViolation:
        return False
    return True


def last_of(connection: Connection, place: Place | None) -> int:
    """The last checkpoint in the database that a folder has, which goes up to ``place``."""
    if place is None:
        return 0
    row = connection.execute(
        "SELECT min(number) - 1 FROM public.seal_checkpoints WHERE epoch > %s", (place.epoch,)
    ).fetchone()
    begun = row[0] if row else None
    return place.number if begun is None else min(place.number, int(begun))


def is_stamped(connection: Connection, number: int, authority: str) -> bool:
    row = connection.execute(
        "SELECT FROM public.seal_timestamps WHERE checkpoint = %s AND authority = %s", (number, authority)
    ).fetchone()
    return row is not None


def record_stamp(connection: Connection, number: int, authority: str, at: datetime, reply: bytes) -> None:
    connection.execute(
        "INSERT INTO public.seal_timestamps (checkpoint, authority, stamped_at, reply) "
        "VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (number, authority, at, reply),
    )


def newest_stamp(connection: Connection, authority: str) -> tuple[int, str, bytes] | None:
    """Number and note of the newest checkpoint that the authority stamped, and its reply."""
    row = connection.execute(
        "SELECT number, note, reply FROM public.seal_timestamps JOIN public.seal_checkpoints "
        "ON number = checkpoint WHERE authority = %s ORDER BY number DESC LIMIT 1",
        (authority,),
        binary=True,
    ).fetchone()
    return (row[0], row[1], row[2]) if row else None
