"""How long the oldest event has been waiting for each read model; costs the same however long the log is."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from eventstore.log.connection import Connection
from eventstore.log.feed import BEGINNING

#: Events that wait are counted up to here.
COUNTED = 100_000

_LATENESS = """
    SELECT name, coalesce(watermark, %(beginning)s), updated_at, events, seconds
      FROM unnest(%(names)s::text[]) WITH ORDINALITY AS named (name, place)
      LEFT JOIN projections USING (name),
           LATERAL (SELECT count(*) AS events,
                           (coalesce(greatest(0, clock_ms() - min(uuidv7_ms(id))), 0) / 1000.0)::float8
                           AS seconds
                      FROM (SELECT id FROM order_events
                             WHERE id > coalesce(watermark, %(beginning)s) AND id <= (SELECT feed_ceiling())
                             ORDER BY id LIMIT %(counted)s) AS above) AS waiting
     ORDER BY place
"""


class Lateness(msgspec.Struct, frozen=True, kw_only=True):
    """How late a read model is."""

    name: str
    watermark: UUID
    updated_at: datetime | None  #: when it last took something in; None before its first refresh
    events: int  #: that wait, counted up to ``COUNTED``
    seconds: float  #: how long the oldest of them has been waiting; 0 where there is none

    @property
    def counted(self) -> str:
        return f"{self.events:,}{' or more' if self.events == COUNTED else ''}"


def lateness(connection: Connection, names: Sequence[str]) -> list[Lateness]:
    """Of these read models, in their order; one that was never refreshed has all of the log before it."""
    rows = connection.execute(
        _LATENESS, {"names": list(names), "beginning": BEGINNING, "counted": COUNTED}
    ).fetchall()
    return [
        Lateness(name=name, watermark=watermark, updated_at=updated_at, events=events, seconds=seconds)
        for name, watermark, updated_at, events, seconds in rows
    ]
