"""The copies of checkpoints outside: they follow the database, and know when it goes back behind them."""

from datetime import datetime
from typing import NamedTuple

from eventstore.kernel.counted import counted
from eventstore.log.connection import Connection
from eventstore.seals import records
from eventstore.seals.checkpoint import Signed, read_checkpoint
from eventstore.seals.epochs import current_epoch
from eventstore.seals.errors import SealError
from eventstore.seals.folder import Place
from eventstore.seals.keyring import Keyring
from eventstore.seals.note import NoteError
from eventstore.seals.outside import Outside
from eventstore.seals.timestamps import Authority, stamp


class Copies(NamedTuple):
    newest: Signed | None
    key: str | None
    stamped_at: datetime | None
    warnings: list[str]


def refuse_to_go_back(
    connection: Connection, outside: Outside, place: Place | None, newest: Signed | None
) -> None:
    """Raise SealError where the folder, which goes up to ``place``, has a checkpoint that the database lacks,
    or another one. ``place`` was looked for before ``newest``: the copies come after the commit.
    """
    epoch = current_epoch(connection)
    if place is None or place.epoch < epoch:  # a declared restore begins an epoch
        return
    number = newest.checkpoint.number if newest else 0
    if place.epoch > epoch or place.number > number:
        raise SealError(_went_back(outside, place, newest))
    written = records.note_of(connection, place.number)
    if written is not None:
        outside.folder.write(read_checkpoint(written))  # the same, or SealError


def hand_out(connection: Connection, outside: Outside, *, with_stamp: bool = False) -> Copies:
    """Bring the folder up to the database, and have the newest checkpoint stamped where that is wanted.

    Only what is signed by a key that this home trusts leaves the database. Trouble with the authority is a
    warning: the next run asks it again.
    """
    place = outside.folder.newest()
    found = records.newest_note(connection)
    introductions = records.key_notes(connection)
    if found is None:
        refuse_to_go_back(connection, outside, place, None)
        return Copies(None, None, None, [])
    newest = _read(*found)
    refuse_to_go_back(connection, outside, place, newest)
    ring = Keyring(outside.trusted(), introductions)
    warnings = []
    strangers = len(introductions) - len(ring.introductions)
    if ring.anchors and strangers:
        warnings.append(
            f"{strangers} of the keys in seal_keys are vouched for by no key that is trusted here: somebody "
            "put them there; they are not copied"
        )
    if not ring.anchors:
        warnings.append(
            f"no checkpoint is copied to {outside.folder.path}: no key here says which are genuine"
        )
    elif (copied := _copy(connection, outside, ring, place)) > 1:
        warnings.append(
            f"{counted(copied - 1, 'checkpoint was', 'checkpoints were')} missing in "
            f"{outside.folder.path}, which has "
            "all again: something was lost, or a run was killed"
        )
    stamped_at = None
    if with_stamp and outside.authority is not None:
        try:
            stamped_at = _stamp(connection, outside, outside.authority, newest)
        except SealError as error:
            warnings.append(f"checkpoint {newest.checkpoint.number} has no time stamp: {error}")
    return Copies(newest, str(ring.newest.key) if ring.newest else None, stamped_at, warnings)


def _copy(connection: Connection, outside: Outside, ring: Keyring, place: Place | None) -> int:
    """Write what the folder lacks behind ``place``, its newest checkpoint; returns how many."""
    for introduced, written in ring.introduced:
        outside.folder.write_key(introduced.number, written)
    copied = 0
    for number, written in records.notes(connection, records.last_of(connection, place)):
        signed = _read(number, written)
        if ring.signer(signed.note, number) is None:
            raise SealError(
                f"checkpoint {number} in the database is not signed by a key of this log: somebody put it "
                "there; it is not copied. `eventstore verify` says more"
            )
        copied += outside.folder.write(signed)
    return copied


def _stamp(connection: Connection, outside: Outside, authority: Authority, newest: Signed) -> datetime | None:
    """None where the newest checkpoint is stamped already."""
    number = newest.checkpoint.number
    if records.is_stamped(connection, number, authority.name):
        return None
    made = stamp(authority, newest.written.encode())
    records.record_stamp(connection, number, authority.name, made.at, made.reply)
    outside.folder.write_stamp(newest, made.reply)
    return made.at


def _read(number: int, written: str) -> Signed:
    try:
        return read_checkpoint(written)
    except NoteError as error:
        raise SealError(f"checkpoint {number} in the database cannot be read: {error}") from None


def _went_back(outside: Outside, place: Place, newest: Signed | None) -> str:
    found = outside.folder.read(place)
    if newest is not None and isinstance(found, Signed) and found.checkpoint.log != newest.checkpoint.log:
        return (
            f"{outside.folder.path} belongs to the log {found.checkpoint.log}, not to "
            f"{newest.checkpoint.log}, that of this database: name its home in EVENTSTORE_HOME"
        )
    has = f"the newest in the database is {newest.checkpoint.number}" if newest else "the database has none"
    return (
        f"{place.path} is checkpoint {place.number}, and {has}: the database was replaced, cut, or restored "
        "from an older backup. `eventstore verify` says what is missing. Nothing is sealed until the "
        f"database has it again or, where this was on purpose, {outside.folder.path} is moved away and kept"
    )
