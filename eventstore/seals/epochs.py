"""Which history of the log this is, as far as somebody stands for it."""

from eventstore.kernel.moments import moment
from eventstore.log.connection import Connection


def current_epoch(connection: Connection) -> int:
    """1, or the last epoch that was declared: one that was only found out excuses nothing that is missing."""
    row = connection.execute(
        "SELECT coalesce(max(epoch), 1) FROM public.log_epochs WHERE declared_by IS NOT NULL"
    ).fetchone()
    assert row is not None
    return int(row[0])


def declared(connection: Connection) -> list[str]:
    """Each epoch that somebody stands for, in words: whoever owns the database can write such a row, too."""
    rows = connection.execute(
        "SELECT epoch, kind, since, declared_by, reason FROM public.log_epochs "
        "WHERE declared_by IS NOT NULL ORDER BY epoch"
    )
    return [
        f"epoch {epoch} of {moment(since)}, a {kind}, by {by}: {reason}"
        for epoch, kind, since, by, reason in rows
    ]
