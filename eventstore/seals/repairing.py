"""Make tiles and trees anew from the log, where they were damaged and the log was not."""

from collections.abc import Callable
from uuid import UUID

from eventstore.log.connection import Connection
from eventstore.seals.checkpoint import Checkpoint, Head
from eventstore.seals.errors import SealError
from eventstore.seals.leaves import BEGINNING, buckets, prefer_index, read_leaves
from eventstore.seals.outside import Outside
from eventstore.seals.standing import stand
from eventstore.seals.tree import Tree
from eventstore.seals.trees import save_tree
from eventstore.seals.walk import next_stop


def repair(
    connection: Connection, outside: Outside, *, on_progress: Callable[[int], None] = lambda _: None
) -> int:
    """Read every sealed event again, and make of it what `seal_tiles` and `seal_trees` should hold.

    One transaction, which is kept only if all roots are those that were signed; returns how many events. For
    the owner of the tables: nobody else may take a tile away. Raises SealError where the log itself, or what
    was signed, is in doubt.
    """
    claims = stand(connection, outside).claims
    if claims.head is None or claims.problems or claims.doubts or claims.beyond:
        found = [problem.detail for problem in claims.problems] + claims.doubts
        reason = "; ".join(found[:3]) or "a checkpoint outside is missing in the database"
        raise SealError(f"what was signed is itself in doubt, so nothing can be made to fit it: {reason}")
    made = claims.head.checkpoint
    with connection.transaction():
        connection.execute(
            "LOCK TABLE public.seal_trees IN EXCLUSIVE MODE; "
            "ALTER TABLE public.seal_tiles DISABLE TRIGGER append_only; DELETE FROM public.seal_tiles; "
            "ALTER TABLE public.seal_tiles ENABLE ALWAYS TRIGGER append_only"
        )
        connection.execute(
            "INSERT INTO public.seal_trees (bucket) SELECT generate_series(0, %s) ON CONFLICT DO NOTHING",
            (len(made.heads) - 1,),
        )
        newest = connection.execute("SELECT max(number) FROM public.seal_checkpoints").fetchone()
        if newest != (made.number,):
            raise SealError("somebody sealed meanwhile: run it again")
        prefer_index(connection)
        for bucket in range(len(made.heads)):
            _make(connection, bucket, made, on_progress)
    return made.size


def _make(connection: Connection, bucket: int, made: Checkpoint, on_progress: Callable[[int], None]) -> None:
    table = buckets(connection, len(made.heads)).get(bucket)
    if table is None:
        raise SealError(f"the table of bucket {bucket} of the log is gone")
    tree = Tree()
    after: UUID = BEGINNING
    while (until := next_stop(connection, table, after, made.horizon)) is not None:
        found = read_leaves(connection, table, after, until)
        tree, filled = tree.extended(found.hashes, found.ids)
        save_tree(connection, bucket, tree, filled)
        on_progress(found.events)
        after = until
    if Head(tree.size, tree.root) != made.heads[bucket]:
        raise SealError(
            f"the events of bucket {bucket} are not those that were sealed: `eventstore verify` says more; "
            "nothing is changed"
        )
