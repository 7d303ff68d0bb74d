"""How many buckets the log has: the database says it, and nobody keeps it in mind."""

from eventstore.log.connection import Connection

#: Of max_locks_per_transaction: PostgreSQL's default of 64 for 16 buckets, and as much for each of more.
LOCKS_A_BUCKET = 4


def buckets_of(connection: Connection) -> int:
    """The number of buckets. Cheap: ask where it is needed, for a log without events may be split anew."""
    (number,) = connection.execute("SELECT public.log_buckets()").fetchone() or (0,)
    return int(number)


def locks_lacking(connection: Connection, number: int) -> tuple[str, str] | None:
    """What is so, and what to do, where the server's table of locks is too small for so many buckets.

    The first append of a session plans for all of them, and locks six relations of each until it commits.
    """
    (said,) = connection.execute("SELECT current_setting('max_locks_per_transaction')::int").fetchone() or (
        0,
    )
    wanted = LOCKS_A_BUCKET * number
    if said >= wanted:
        return None
    return (
        f"with {number} buckets and max_locks_per_transaction = {said} appends of many new sessions at once "
        'may fail with "out of shared memory"',
        f"as a superuser: ALTER SYSTEM SET max_locks_per_transaction = {wanted}; then start the server again",
    )
