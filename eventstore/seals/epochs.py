"""Which history of the log this is, as far as somebody stands for it."""

from eventstore.log.connection import Connection


def current_epoch(connection: Connection) -> int:
    """1, or the last epoch that was declared: one that was only found out excuses nothing that is missing."""
    row = connection.execute(
        "SELECT coalesce(max(epoch), 1) FROM public.log_epochs WHERE declared_by IS NOT NULL"
    ).fetchone()
    assert row is not None
    return int(row[0])
