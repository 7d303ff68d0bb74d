"""Change the key that signs, in one transaction, and put the new private key in its place."""

from typing import NamedTuple

from eventstore.log.connection import Connection
from eventstore.seals import records
from eventstore.seals.copies import hand_out, refuse_to_go_back
from eventstore.seals.errors import SealError
from eventstore.seals.keyring import KeyNote
from eventstore.seals.outside import KEY_VARIABLE, Outside
from eventstore.seals.sealing import clock, lock_newest
from eventstore.seals.signing import change_key, finish_change


class Changed(NamedTuple):
    note: KeyNote
    to_do: str | None  #: what a person has to do before the next checkpoint can be signed


def change_key_of(connection: Connection, outside: Outside, *, lost: str | None = None) -> Changed:
    """Replace the key by a new one, signed by the old one or, where that is ``lost``, for that reason.

    Killed anywhere, the change has happened, and is finished by the next seal, or it has not, and is simply
    run again. Raises SealError or KeyMissingError.
    """
    if finish_change(outside, records.key_notes(connection)):
        raise SealError(
            f"a change of keys that was interrupted is finished now: {outside.key_file} holds the new key"
        )
    with connection.transaction():
        newest, _ = lock_newest(connection)
        if newest is None:
            raise SealError("nothing is sealed yet, so there is no key to replace")
        refuse_to_go_back(connection, outside, outside.folder.newest(), newest)
        note = change_key(connection, outside, newest, clock(connection), lost=lost)
    to_do = None
    if not finish_change(outside, records.key_notes(connection)):
        to_do = f"put what {outside.next_key_file} holds into {KEY_VARIABLE}, then remove that file"
    hand_out(connection, outside)
    return Changed(note, to_do)
