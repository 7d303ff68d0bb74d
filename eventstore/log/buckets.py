"""How many buckets the log has: the database says it, and nobody keeps it in mind."""

from eventstore.log.connection import Connection


def buckets_of(connection: Connection) -> int:
    """The number of buckets. Cheap: ask where it is needed, for a log without events may be split anew."""
    (number,) = connection.execute("SELECT public.log_buckets()").fetchone() or (0,)
    return int(number)
