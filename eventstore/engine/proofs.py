"""Everything that is proven of a store: the one list, for the nightly jobs, `prove`, `check` and `status`.

A new invariant is a module in `invariants` and a line here, or a proof of the domain.
"""

from typing import Any

from eventstore.engine.domain import Domain
from eventstore.engine.invariants.derived import derived_proof
from eventstore.engine.invariants.fold import fold_proof
from eventstore.engine.invariants.log import log_proofs
from eventstore.engine.invariants.overlapping import overlaps_proof
from eventstore.engine.invariants.snapshots import snapshots_proof
from eventstore.engine.invariants.watermarks import watermarks_proof
from eventstore.engine.prover import Proof
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS


def proofs_of(domain: Domain[Any]) -> tuple[Proof, ...]:
    """What must hold of the log, of where everything stands in it, and of what is made from it."""
    return (
        *log_proofs(),
        watermarks_proof(read_models(domain)),
        *map(fold_proof, domain.projections),
        overlaps_proof(domain.history),
        snapshots_proof(domain.states),
        *map(derived_proof, domain.derived),
        *domain.proofs,
    )


def read_models(domain: Domain[Any]) -> list[str]:
    """All that has a watermark of its own, in the order in which one is made from the other."""
    return [
        *(projection.name for projection in domain.projections),
        SNAPSHOTS,
        *(derived.name for derived in domain.derived),
    ]
