"""Which business days are due: those that ended since the last one built; of a new store, its last week."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from eventstore.kernel.recorded import from_ms
from eventstore.log.connection import Connection

#: Most late events of a day are here by then.
SETTLED_AFTER = timedelta(hours=1)
_FIRST = timedelta(days=7)
#: After a longer pause the days before are left out: whoever wants them builds them.
_MOST = timedelta(days=31)


class Days(NamedTuple):
    """From the first to the last, both included."""

    first: date
    last: date


def last_settled(now: datetime) -> date:
    """The newest business day (UTC) that is over, and has been for a while."""
    return (now.astimezone(UTC) - SETTLED_AFTER).date() - timedelta(days=1)


def days_due(connection: Connection, now: datetime) -> Days | None:
    """The days to build now, None where all are built or the log is empty. Costs two probes of an index.

    Where none was ever built: the week up to the newest event, be it of long ago.
    """
    last = last_settled(now)
    (built,) = connection.execute("SELECT max(day) FROM order_snapshot_days").fetchone() or (None,)
    if built is not None:
        first = max(built, last - _MOST) + timedelta(days=1)
        return Days(first, last) if first <= last else None
    newest = connection.execute("SELECT created_at FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
    if newest is None:
        return None
    last = min(last, from_ms(newest[0]).date())
    return Days(last - _FIRST + timedelta(days=1), last)
