"""What is claimed of the log, and how its trees stand, read in one moment."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from eventstore.log.connection import Connection
from eventstore.seals import records
from eventstore.seals.claims import ALL, Claims, Window
from eventstore.seals.folder import read_file
from eventstore.seals.keyring import Keyring
from eventstore.seals.leaves import BEGINNING, buckets
from eventstore.seals.note import VerifierKey
from eventstore.seals.outside import Outside
from eventstore.seals.tree import Tree
from eventstore.seals.trees import read_trees
from eventstore.seals.walk import Boundary, Claim


class Standing(NamedTuple):
    claims: Claims
    trees: list[Tree]
    tables: dict[int, sql.Identifier]
    buckets: int  #: how many there are
    unsealed: int

    def claim(self, bucket: int) -> Claim:
        """What the newest checkpoint, and those before it, say of a bucket."""
        assert self.claims.head is not None
        made = self.claims.head.checkpoint
        head = Boundary(*made.heads[bucket], made.number, made.number)
        known = self.claims.boundaries(bucket, made.number)
        same = [
            boundary for boundary in known if boundary[:2] == head[:2]
        ]  # nothing came since: the first says it
        return Claim(
            bucket,
            same[0] if same else head,
            made.horizon,
            tuple(boundary for boundary in known if boundary.size < head.size),
        )


def stand(
    connection: Connection,
    outside: Outside,
    *,
    keys: Sequence[VerifierKey] = (),
    against: Sequence[Path] = (),
    window: Window = ALL,
) -> Standing:
    """Read what is claimed, in one snapshot. The folder first: its copies follow the database.

    ``keys`` are those to trust, where those of the home folder are not; ``against`` are checkpoints that were
    kept elsewhere. Of all others, those in the ``window`` are looked at, and the newest.
    """
    copies = [(path, read_file(path)) for path in against]
    newest = outside.folder.newest()
    trusted = list(keys) or outside.trusted()
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        ring = Keyring(trusted, [*records.key_notes(connection), *outside.folder.key_notes()])
        claims = Claims(ring)
        claims.take_database(connection, window)
        if newest is not None:
            known = (
                place
                for place in takewhile(lambda place: place[:2] <= newest[:2], outside.folder.places())
                if window.first <= place.number <= window.last or place == newest
            )
            claims.take_outside(connection, ((place.path, outside.folder.read(place)) for place in known))
        claims.take_outside(connection, copies, keep=True)
        _doubt(claims, ring, outside)
        trees = read_trees(connection)
        # As was signed: a log that was split anew since has no tables for what was sealed.
        signed = claims.head or (claims.beyond.signed if claims.beyond else None)
        number = len(signed.checkpoint.heads) if signed else len(trees)
        return Standing(claims, trees, buckets(connection, number), number, _unsealed(connection, claims))


def _doubt(claims: Claims, ring: Keyring, outside: Outside) -> None:
    if claims.head is None and claims.beyond is None:
        claims.doubts.append("nothing is sealed yet: `eventstore seal` does that")
        return
    if not ring.anchors:
        claims.doubts.append(
            "no public key is trusted here, so nobody vouches for the signatures: give --key, as "
            "`eventstore seal-key` prints it where the log is sealed"
        )
    if not claims.outside:
        claims.doubts.append(
            f"there is no copy of a checkpoint outside of the database (in {outside.folder.path}): events "
            "that were cut off together with their checkpoints would not be missed; give --against"
        )


def _unsealed(connection: Connection, claims: Claims) -> int:
    """How many events come after the newest checkpoint."""
    row = connection.execute(
        "SELECT pg_catalog.count(*) FROM public.order_events WHERE id > %s",
        (claims.head.checkpoint.horizon if claims.head else BEGINNING,),
    ).fetchone()
    return int(row[0]) if row else 0


def first_tile_after(connection: Connection, bucket: int, id_: UUID) -> int:
    """The tile that the first event above an id is in; one that is not filled yet has a number too."""
    row = connection.execute(
        "SELECT coalesce((SELECT tile FROM public.seal_tiles WHERE bucket = %(bucket)s AND last_id > %(id)s "
        "ORDER BY last_id, tile LIMIT 1), "
        "(SELECT max(tile) + 1 FROM public.seal_tiles WHERE bucket = %(bucket)s), 0)",
        {"bucket": bucket, "id": id_},
    ).fetchone()
    return int(row[0]) if row else 0
