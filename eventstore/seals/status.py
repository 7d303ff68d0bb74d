"""The seals at a glance: how much is sealed, since when the rest waits, what was verified."""

from datetime import datetime

import msgspec

from eventstore.kernel.counted import counted
from eventstore.kernel.moments import moment
from eventstore.log.connection import Connection
from eventstore.seals import records
from eventstore.seals.checkpoint import read_checkpoint
from eventstore.seals.leaves import BEGINNING
from eventstore.seals.note import NoteError
from eventstore.seals.share import Round, read_round

_COUNTED = 1_000_000


class SealStatus(msgspec.Struct, frozen=True, kw_only=True):
    sealed: int  #: events
    unsealed: int  #: events after the newest checkpoint; counted up to a million
    unsealed_seconds: float  #: for how long the oldest of them has been waiting
    checkpoint: int  #: the number of the newest; 0: none
    sealed_at: datetime | None
    begun_at: datetime | None  #: when the first checkpoint was made
    verification: Round


def seal_status(connection: Connection) -> SealStatus:
    """Costs what is unsealed; writes nothing, and verifies nothing."""
    found = records.newest_note(connection)
    try:
        made = read_checkpoint(found[1]).checkpoint if found else None
    except NoteError:
        made = None
    unsealed, seconds = connection.execute(
        "SELECT count(*), coalesce(greatest(0, clock_ms() - min(uuidv7_ms(id))), 0) / 1000.0 "
        "FROM (SELECT id FROM public.order_events WHERE id > %s AND id <= (SELECT feed_ceiling()) "
        "ORDER BY id LIMIT %s) waiting",
        (made.horizon if made else BEGINNING, _COUNTED),
    ).fetchone() or (0, 0)
    first = connection.execute(
        "SELECT sealed_at FROM public.seal_checkpoints ORDER BY number LIMIT 1"
    ).fetchone()
    return SealStatus(
        sealed=made.size if made else 0,
        unsealed=unsealed,
        unsealed_seconds=float(seconds),
        checkpoint=made.number if made else 0,
        sealed_at=made.time if made else None,
        begun_at=first[0] if first else None,
        verification=read_round(connection),
    )


def in_words(status: SealStatus) -> str:
    """One line: what is sealed, what waits, what was verified, what is wrong."""
    if not status.checkpoint or status.sealed_at is None:
        return "none: run `eventstore seal`"
    words = [f"{counted(status.sealed, 'event')} up to {moment(status.sealed_at)}"]
    if status.unsealed:
        words.append(f"{status.unsealed:,} wait for {status.unsealed_seconds:,.0f} s")
    walk = status.verification
    if walk.failing or walk.problems:
        words.append("NOT INTACT: run `eventstore verify`")
    elif walk.all_done_at:
        words.append(f"all verified by {walk.all_done_at:%Y-%m-%d}")
    elif walk.verified_at and walk.all_done_by:
        words.append(f"{walk.events:,} verified, all by {walk.all_done_by:%Y-%m-%d}")
    else:
        words.append("never verified")
    return ", ".join(words)
