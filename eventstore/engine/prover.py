"""Proofs of what the store keeps, in shares: each run proves some more, and so all of it in turn.

What looks through everything costs what is there, not what is new. So it has a budget of events a run (the
setting ``proof_budget``), and goes on where the run before it ended, which the table ``proofs`` says.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from eventstore.log.connection import Connection
from eventstore.log.settings import policy

#: Events after which a run commits how far it is.
_SHARE = 50_000
#: So many findings of a proof are kept.
_KEPT = 1_000


class Finding(NamedTuple):
    subject: str  #: what is wrong, such as the id of an order
    what: str  #: how
    kind: str | None = None  #: where it is another than that of its proof; not kept, nor is the next
    table: str | None = None


class Share(NamedTuple):
    """What was looked at."""

    until: str | None  #: where the next share begins; None: this was the last
    events: int
    findings: list[Finding]
    doubt: str | None = None  #: why it cannot be told


@dataclass(frozen=True)
class Proof:
    """Something that must hold, and can be proven share by share."""

    name: str
    description: str
    #: Prove about so many events after a position, as the share before it gave it; None: from the beginning.
    prove: Callable[[Connection, str | None, int], Share]
    #: Look at these subjects once more: they may have been mended.
    again: Callable[[Connection, Sequence[str]], list[Finding]]
    #: About how many events there are to be proven.
    total: Callable[[Connection], int]
    kind: str = "differs"  #: what a finding is, in a word
    table: str | None = None  #: where it is; None: in the table of this name
    #: Prove about so many events here and there; None: `eventstore check` looks at all of them.
    sample: Callable[[Connection, int], Share] | None = None
    is_cheap: bool = False  #: an event costs a small part of a fold: it takes nothing from what a run may do
    in_one: bool = False  #: it cannot be proven in shares: a run takes it where its budget has room for all


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """How far a proof is."""

    name: str
    description: str
    proven_at: datetime | None  #: when a share was last proven
    share: float  #: of this round, from 0 to 1
    whole_since: datetime | None  #: all that was there by then was proven ...
    whole_at: datetime | None  #: ... by then
    whole_by: (
        datetime | None
    )  #: when about all will have been proven again, if the runs go on as the last two
    findings: int
    first_findings: list[str]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has proven."""

    name: str
    events: int
    finished: bool  #: it came to the end: the next one begins anew
    findings: list[Finding]  #: those of earlier runs that were not mended, too
    seconds: float


def budget_of(connection: Connection, proofs: Iterable[Proof]) -> int:
    """The events of each of these proofs that a run may look at."""
    dear = sum(not (proof.is_cheap or proof.in_one) for proof in proofs)
    return int(policy(connection).proof_budget) // max(1, dear)


def prove(
    connection: Connection,
    proof: Proof,
    budget: int | None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Run:
    """Go on with a proof for about ``budget`` events, at most to its end. None: all of it, from the start.

    How far it is commits with every share, so a run that was killed loses little. What two runs at once prove
    is proven twice.
    """
    started = time.monotonic()
    if budget is not None and proof.in_one and proof.total(connection) > budget:
        return _left_out(connection, proof)
    position = _begin(connection, proof, anew=budget is None)
    _look_again(connection, proof)
    events, finished = 0, False
    while not finished and (budget is None or events < budget):
        share = proof.prove(connection, position, _SHARE if budget is None else min(_SHARE, budget - events))
        _keep(connection, proof, position, share)
        events += share.events
        position, finished = share.until, share.until is None
        on_progress(share.events)
    return Run(
        name=proof.name,
        events=events,
        finished=finished,
        findings=_findings(connection, proof.name),
        seconds=time.monotonic() - started,
    )


def _left_out(connection: Connection, proof: Proof) -> Run:
    """It is more than a run may do: it is proven when all is, and no run is late with it."""
    _look_again(connection, proof)
    connection.execute("UPDATE proofs SET proven_at = NULL WHERE name = %s", (proof.name,))
    found = _findings(connection, proof.name)
    return Run(name=proof.name, events=0, finished=False, findings=found, seconds=0.0)


def _begin(connection: Connection, proof: Proof, *, anew: bool) -> str | None:
    with connection.transaction():
        connection.execute("INSERT INTO proofs (name) VALUES (%s) ON CONFLICT DO NOTHING", (proof.name,))
        if anew:
            connection.execute("UPDATE proofs SET position = NULL WHERE name = %s", (proof.name,))
        connection.execute(
            "UPDATE proofs SET round_began_at = now(), round_events = 0 WHERE name = %s AND position IS NULL",
            (proof.name,),
        )
        (position,) = connection.execute(
            "UPDATE proofs SET run_pause = now() - run_began_at, run_began_at = now(), run_events = 0 "
            "WHERE name = %s RETURNING position",
            (proof.name,),
        ).fetchone() or (None,)
    return None if position is None else str(position)


def _look_again(connection: Connection, proof: Proof) -> None:
    """What was mended is found no more."""
    before = [finding.subject for finding in _findings(connection, proof.name)]
    if before:
        still = [finding.subject for finding in proof.again(connection, before)]
        connection.execute(
            "DELETE FROM proof_findings WHERE proof = %s AND subject = ANY(%s)",
            (proof.name, list(set(before) - set(still))),
        )


def _keep(connection: Connection, proof: Proof, position: str | None, share: Share) -> None:
    """Write down what was found and, unless another run went on from the same position, where it ended."""
    with connection.transaction():
        room = max(0, _KEPT - len(_findings(connection, proof.name)))
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO proof_findings (proof, subject, what) VALUES (%s, %s, %s) "
                "ON CONFLICT (proof, subject) DO UPDATE SET what = excluded.what",
                [(proof.name, finding.subject, finding.what) for finding in share.findings[:room]],
            )
        connection.execute(
            "UPDATE proofs SET position = %s, proven_at = now(), run_events = run_events + %s, "
            "round_events = round_events + %s WHERE name = %s AND position IS NOT DISTINCT FROM %s",
            (share.until, share.events, share.events, proof.name, position),
        )
        if share.until is None:
            connection.execute(
                "UPDATE proofs SET whole_since = round_began_at, whole_at = now() WHERE name = %s",
                (proof.name,),
            )


def _findings(connection: Connection, name: str) -> list[Finding]:
    rows = connection.execute(
        "SELECT subject, what FROM proof_findings WHERE proof = %s ORDER BY found_at, subject", (name,)
    )
    return [Finding(*row) for row in rows]


def proven(connection: Connection, proof: Proof) -> Proven:
    """How far a proof is; reads what the runs wrote down, and nothing else."""
    row = (
        connection.execute(
            "SELECT position, proven_at, round_events, run_events, run_pause, run_began_at, whole_since, "
            "whole_at FROM proofs WHERE name = %s",
            (proof.name,),
        ).fetchone()
        or (None,) * 8
    )
    position, proven_at, round_events, run_events, pause, began_at, whole_since, whole_at = row
    found = _findings(connection, proof.name)
    # What a round that came to its end has looked at needs no counting.
    total = proof.total(connection) if position is not None else round_events or 0
    share = 0.0 if position is None else min(1.0, round_events / max(1, total))
    return Proven(
        name=proof.name,
        description=proof.description,
        proven_at=proven_at,
        share=share,
        whole_since=whole_since,
        whole_at=whole_at,
        whole_by=_whole_by(began_at, pause, total * (1 - share), run_events),
        findings=len(found),
        first_findings=[f"{finding.subject}: {finding.what}" for finding in found[:10]],
    )


def _whole_by(
    began_at: datetime | None, pause: timedelta | None, events_left: float, events_of_a_run: int | None
) -> datetime | None:
    if began_at is None or pause is None or not events_of_a_run:
        return None
    runs = -(-events_left // events_of_a_run)
    try:
        return began_at + max(1, runs) * pause
    except OverflowError:
        return None
