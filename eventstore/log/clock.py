"""What lies ahead of the server's clock: after a jump that was put right, or because of odd ids."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from eventstore.kernel.counted import counted
from eventstore.kernel.moments import moment
from eventstore.log.connection import Connection

#: Ids of the same millisecond push one another on by milliseconds; nothing that is in order is ahead by more.
TOLERANCE_SECONDS = 1.0
_SHOWN = 10


class WaitingEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event whose id lies so far ahead of the clock that no reader is shown it before its time comes."""

    id: UUID
    order_id: UUID
    version: int
    recorded_at: str  #: text, since it may lie after the year 9999


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """The server's clock, and by how many seconds the log is ahead of it (0: it is not)."""

    now: datetime
    horizon_ahead_seconds: float
    newest_event_ahead_seconds: float  #: of those that can be read
    waiting_events: list[WaitingEvent]  #: the first ten of those that cannot

    @property
    def ahead_seconds(self) -> float:
        return max(self.horizon_ahead_seconds, self.newest_event_ahead_seconds)

    @property
    def warnings(self) -> list[str]:
        """What is wrong and what to do about it, a sentence each; empty where the clock is in order."""
        found = []
        if self.ahead_seconds > TOLERANCE_SECONDS:
            what = (
                "newest event" if self.newest_event_ahead_seconds >= self.horizon_ahead_seconds else "horizon"
            )
            found.append(
                f"the {what} is {_duration(self.ahead_seconds)} ahead of the database server's clock "
                f"({moment(self.now)}), so new events are recorded with times ahead of it too. "
                "Check that clock; where it is right again, wait: nothing is lost, and this ends "
                f"{_at(self.now, self.ahead_seconds)}"
            )
        if self.waiting_events:
            ahead = counted(
                len(self.waiting_events),
                "event has an id that lies",
                "events have ids that lie",
                or_more=len(self.waiting_events) == _SHOWN,
            )
            first = self.waiting_events[0]
            found.append(
                f"{ahead} ahead of the clock by more than "
                f"a minute, the first is version {first.version} of order {first.order_id}, recorded "
                f"{first.recorded_at}: no reader and no read model is shown them before their time, nor what "
                "their orders get after them. `eventstore show` shows such an order as it is; append what it "
                "needs to an order of another id"
            )
        return found


def clock(connection: Connection) -> Clock:
    """Two index probes; writes nothing."""
    now_ms, published, newest = connection.execute(
        "SELECT clock_ms(), coalesce(pg_sequence_last_value('feed_horizon'), 0), "
        "(SELECT uuidv7_ms(id) FROM order_events WHERE id <= (SELECT feed_ceiling()) "
        "ORDER BY id DESC LIMIT 1)"
    ).fetchone() or (0, 0, None)
    waiting = connection.execute(
        "SELECT id, order_id, version, "
        "to_char(recorded_at(id) AT TIME ZONE 'UTC', 'FMYYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') "
        f"FROM order_events WHERE id > (SELECT feed_ceiling()) ORDER BY id LIMIT {_SHOWN}"
    ).fetchall()
    return Clock(
        now=datetime.fromtimestamp(now_ms / 1000, UTC),
        horizon_ahead_seconds=max(0, published - now_ms) / 1000,
        newest_event_ahead_seconds=max(0, (newest or 0) - now_ms) / 1000,
        waiting_events=[
            WaitingEvent(id=event_id, order_id=order_id, version=version, recorded_at=recorded)
            for event_id, order_id, version, recorded in waiting
        ],
    )


def _duration(seconds: float) -> str:
    for unit, length in (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.1f} seconds"


def _at(now: datetime, seconds: float) -> str:
    try:
        return f"at {moment(now + timedelta(seconds=seconds))}"
    except OverflowError:
        return "after the year 9999: restore the log without the events whose ids say so"
