"""Every projection there is: what is named here is refreshed, replayed and shown like `orders`."""

from typing import Any

from eventstore.domain.shown import shown
from eventstore.readmodels.history import HISTORY
from eventstore.readmodels.projection import ORDERS, Projection

PROJECTIONS: tuple[Projection[Any], ...] = (ORDERS, HISTORY)


def projection_named(name: str) -> Projection[Any]:
    """Raises ValueError, naming those that exist."""
    for projection in PROJECTIONS:
        if projection.name == name:
            return projection
    known = ", ".join(projection.name for projection in PROJECTIONS)
    raise ValueError(f"there is no projection {shown(name)}; there are {known}")
