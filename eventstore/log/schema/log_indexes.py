"""The indexes of revision 0015, of each bucket of the log its own, and the end of those that they replace.

The revision makes them where the log is empty. On one with events they are built beside the work that goes
on, bucket by bucket. What is there already is found in the catalog: killed at any moment, the next call goes
on. Until then the old ones do the work.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from eventstore.kernel.buckets import table_of
from eventstore.log.buckets import buckets_of
from eventstore.log.connection import Connection, open_connection

Say = Callable[[str], None]

#: By the ends of their names. A unique index of the whole log would have to hold all of order_id as well.
_WANTED = {
    "identity": "CREATE UNIQUE INDEX {how} {bucket}_identity ON {bucket} "
    "(event_identity(order_id, source, source_id)) WHERE source_id IS NOT NULL",
    "long_streams": "CREATE INDEX {how} {bucket}_long_streams ON {bucket} (order_id, created_at, version) "
    "WHERE version > 32",
}
_REPLACED = ("order_events_source", "order_events_business_time")
_DROP = f"DROP INDEX IF EXISTS {', '.join(_REPLACED)}"

#: One session at a time builds them; a number of its own.
_LOCK = 0x45530002
#: Appends wait behind a statement that waits for the whole log: so long at most, then it is tried again.
_SHORT_WAIT = "500ms"
_TRY_FOR_S = 600


def build(url: str, say: Say) -> None:
    """Build what is missing while others read and append, then drop what is replaced. Does nothing where that
    is done, or where another session is about it.

    ``say`` is told what is done next. The last step needs a moment in which nobody uses the log and waits for
    it half a second at a time: raises an error of the database where none came, and the next call goes on.
    """
    with open_connection(url, application_name="eventstore init") as connection:
        if not _is_unfinished(connection):
            return
        with _alone(connection) as is_alone:
            if is_alone:
                _build(connection, say)
            else:
                say("The indexes of the log are being built by another session.")


def _build(connection: Connection, say: Say) -> None:
    connection.execute("SET lock_timeout = 0")  # it waits for old transactions, in nobody's way
    refused: list[str] = []
    buckets = _buckets(connection)
    for number, bucket in enumerate(buckets, 1):
        missing = [name for name in _WANTED if not _stands(connection, f"{bucket}_{name}")]
        if missing:
            say(f"Building indexes of {bucket}, {number} of {len(buckets)} …")
        for name in missing:
            try:
                _create(connection, bucket, name)
            except psycopg.errors.UniqueViolation:
                refused.append(bucket)
    if refused:
        where = ", ".join(refused)
        if _stands(connection, "order_events_source"):
            # Nobody does that by chance. The old indexes go on doing the work.
            say(f"Two identities in {where} have the same hash: the old indexes stay.")
        else:
            # Somebody dropped an index, and what came again meanwhile was recorded again.
            say(
                f"Events in {where} were recorded twice, and nothing keeps others from it: "
                "`eventstore check --only identities` names them."
            )
        return
    say(f"Dropping {' and '.join(_REPLACED)} …")
    connection.execute(f"SET lock_timeout = '{_SHORT_WAIT}'")
    _drop_replaced(connection)


def _create(connection: Connection, bucket: str, name: str) -> None:
    drop_unfinished = f"DROP INDEX CONCURRENTLY IF EXISTS {bucket}_{name}".encode()
    connection.execute(drop_unfinished)
    try:
        connection.execute(_WANTED[name].format(how="CONCURRENTLY", bucket=bucket).encode())
    except psycopg.errors.UniqueViolation:
        connection.execute(drop_unfinished)
        raise


@retry(
    retry=retry_if_exception_type((psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)),
    wait=wait_random_exponential(multiplier=0.5, max=10),
    stop=stop_after_delay(_TRY_FOR_S),
    reraise=True,
)
def _drop_replaced(connection: Connection) -> None:
    connection.execute(_DROP)


@contextmanager
def _alone(connection: Connection) -> Iterator[bool]:
    """Whether this is the only session that builds, for as long as the block lasts. It does not wait: the
    session that builds would wait for whoever waits in a statement.
    """
    (locked,) = connection.execute("SELECT pg_try_advisory_lock(0, %s::int)", (_LOCK,)).fetchone() or (False,)
    try:
        yield bool(locked)
    finally:
        if locked and not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(0, %s::int)", (_LOCK,))


def _is_unfinished(connection: Connection) -> bool:
    wanted = {f"{bucket}_{name}" for bucket in _buckets(connection) for name in _WANTED}
    return _standing(connection, [*wanted, *_REPLACED]) != wanted


def lacking(connection: Connection) -> list[str]:
    """The indexes that are not there, and whose work no old one does: somebody dropped them."""
    old = dict(zip(_WANTED, _REPLACED, strict=True))
    wanted = [(f"{bucket}_{name}", old[name]) for bucket in _buckets(connection) for name in _WANTED]
    there = _standing(connection, [index for pair in wanted for index in pair])
    return [index for index, replaced in wanted if not {index, replaced} & there]


def _buckets(connection: Connection) -> list[str]:
    buckets = buckets_of(connection)
    return [table_of("order_events", bucket, buckets) for bucket in range(buckets)]


def _stands(connection: Connection, index: str) -> bool:
    return bool(_standing(connection, [index]))


def _standing(connection: Connection, indexes: Sequence[str]) -> set[str]:
    """Those of them that are there and whole."""
    rows = connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name JOIN pg_index "
        "ON indexrelid = to_regclass('public.' || name) AND indisvalid",
        (list(indexes),),
    )
    return {name for (name,) in rows}
