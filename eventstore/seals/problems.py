"""What a verification can find, in words. Pure."""

from typing import NamedTuple
from uuid import UUID

import msgspec

from eventstore.seals.tree import HASH_BYTES, ID_BYTES

#: Of a bucket; what is beyond is counted.
NAMED = 1000


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was sealed."""

    kind: str  #: altered, inserted, removed, moved, cut_off: an event; rewritten: a range; else the seals
    detail: str
    id: UUID | None = None  #: of the event
    order_id: UUID | None = None
    version: int | None = None
    bucket: int | None = None
    checkpoint: int | None = None


class Difference(NamedTuple):
    """An event that the log and the tiles do not agree about."""

    kind: str  #: altered, inserted, removed
    bucket: int
    id: bytes
    sealed: bytes = b""  #: its leaf hash in the tile
    found: bytes = b""  #: its leaf hash in the log


class Differences:
    """The first of them, and how many there are."""

    def __init__(self) -> None:
        self.named: list[Difference] = []
        self.count = 0

    def add(self, found: list[Difference]) -> None:
        self.count += len(found)
        self.named += found[: NAMED - len(self.named)]

    def __bool__(self) -> bool:
        return self.count > 0


def compare(
    bucket: int, sealed_ids: bytes, sealed_hashes: bytes, ids: bytes, hashes: bytes
) -> list[Difference]:
    """How the events of a stretch of a bucket differ from what was sealed there, by their ids."""
    sealed = _by_id(sealed_ids, sealed_hashes)
    present = _by_id(ids, hashes)
    found = []
    for id_ in sorted(sealed.keys() | present.keys()):
        before, after = sealed.get(id_, []), present.get(id_, [])
        for same in [hash_ for hash_ in before if hash_ in after]:
            before.remove(same)
            after.remove(same)
        changed = min(len(before), len(after))
        found += [Difference("altered", bucket, id_, sealed=hash_) for hash_ in before[:changed]]
        found += [Difference("removed", bucket, id_, sealed=hash_) for hash_ in before[changed:]]
        found += [Difference("inserted", bucket, id_, found=hash_) for hash_ in after[changed:]]
    return found


def _by_id(ids: bytes, hashes: bytes) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for number in range(len(ids) // ID_BYTES):
        hash_ = hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES]
        found.setdefault(ids[number * ID_BYTES : (number + 1) * ID_BYTES], []).append(hash_)
    return found
