"""What is made from projections: brought up to them, for example after a change of their rules."""

from typing import Any

import msgspec

from eventstore.engine.derived import refresh_derived
from eventstore.engine.domain import Domain
from eventstore.engine.projection import Projection
from eventstore.engine.snapshots.build import refresh_stale
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.log.connection import Connection


def refresh_made_from(
    connection: Connection, domain: Domain[Any], projections: tuple[Projection[Any], ...]
) -> dict[str, msgspec.Struct]:
    """Refresh the snapshots and the derived tables of these projections; what was done, by table."""
    names = {projection.name for projection in projections}
    done: dict[str, msgspec.Struct] = {}
    if domain.states.name in names:
        done[SNAPSHOTS] = refresh_stale(connection, domain.states)
    for derived in domain.derived:
        if derived.source.name in names:
            done[derived.name] = refresh_derived(connection, derived)
    return done
