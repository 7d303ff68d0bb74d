"""What the engine is handed: event types, and what is to become of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from eventstore.engine.derived import Derived
from eventstore.engine.projection import Projection
from eventstore.engine.prover import Proof
from eventstore.kernel.codec import Codec
from eventstore.kernel.folding import S
from eventstore.kernel.incoming import Format
from eventstore.kernel.shown import shown


@dataclass(frozen=True)
class Domain(Generic[S]):
    """A business whose events the store keeps.

    Questions about the past, and snapshots, are about ``states``, whose table is `orders`; ``history`` is the
    projection of the same states that `orders_as_of()` reads. ``formats``: the files that its events come in.

    ``functions`` is a folder of SQL files, run after those of the log, in the order of their names: they
    create `payload_problem` and `new_payload_problem`, by which SQL checks the payload of an event, and what
    else the domain needs.
    """

    events: Codec
    states: Projection[S]
    history: Projection[S]
    formats: tuple[Format, ...] = ()
    others: tuple[Projection[Any], ...] = ()
    derived: tuple[Derived, ...] = ()
    functions: Path | None = None
    proofs: tuple[Proof, ...] = ()  #: others than those that every read model has

    @property
    def projections(self) -> tuple[Projection[Any], ...]:
        """Every projection there is: all of them are refreshed, replayed and shown alike."""
        return (self.states, self.history, *self.others)

    def projection(self, name: str) -> Projection[Any]:
        """Raises ValueError, naming those that exist."""
        for projection in self.projections:
            if projection.name == name:
                return projection
        known = ", ".join(projection.name for projection in self.projections)
        raise ValueError(f"there is no projection {shown(name)}; there are {known}")
