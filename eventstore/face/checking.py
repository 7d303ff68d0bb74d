"""`eventstore check`: everything that must hold of a store, in one pass that writes nothing.

The invariants are the proofs of the engine (`proofs_of`), the seals, and the files that were taken in. What
joins the store brings a check of its own, and has its line in `checks_of`.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from eventstore.engine.domain import Domain
from eventstore.engine.proofs import proofs_of
from eventstore.engine.prover import Finding, Proof, Share
from eventstore.ingestion.done import count_done, files_unknown
from eventstore.ingestion.moving import DONE
from eventstore.log.connection import Connection
from eventstore.log.outages import refusal
from eventstore.seals.outside import Outside
from eventstore.seals.status import seal_status
from eventstore.seals.verifying import verify

HOLDS, VIOLATED, UNKNOWN = "holds", "violated", "unknown"
#: So many problems of an invariant are told; what is beyond is counted.
NAMED = 1_000
#: Events of which a sample of a read model is folded.
SAMPLE = 20_000
_SHARE = 50_000

Progress = Callable[[int], None]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that does not hold."""

    kind: str  #: what is wrong, in a word
    table: str  #: where
    detail: str
    order_id: UUID | None = None
    id: str | None = None  #: of an event, or what else is wrong: a read model, a consumer, a group, a file


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an invariant."""

    name: str
    description: str
    verdict: str  #: holds, violated, or unknown
    looked_at: int  #: events, rows or files
    whole: bool  #: False: a sample
    problems: list[Problem]
    problem_count: int
    doubts: list[str]  #: why it cannot be told
    skipped: str | None  #: why there was nothing to look at
    seconds: float


class _Found(msgspec.Struct):
    """What is found meanwhile, with flat memory."""

    looked_at: int = 0
    problems: list[Problem] = msgspec.field(default_factory=list)
    problem_count: int = 0
    doubts: list[str] = msgspec.field(default_factory=list)
    skipped: str | None = None

    def add(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.problem_count += 1
            if len(self.problems) < NAMED:
                self.problems.append(problem)


@dataclass(frozen=True)
class Check:
    """An invariant, as it is looked at now."""

    name: str
    description: str
    whole: bool
    total: Callable[[Connection], int]  #: about how much there is to look at
    look: Callable[[Connection, _Found, Progress], None]


def checks_of(
    domain: Domain[Any], outside: Outside, landing: Path | str, sample: int | None = SAMPLE
) -> list[Check]:
    """All of them, the log first. Of what is folded ``sample`` events, None: all."""
    return [
        *(_of_proof(proof, sample) for proof in proofs_of(domain)),
        Check(
            name="seals",
            description="Every event is as it was sealed.",
            whole=True,
            total=lambda connection: seal_status(connection).sealed,
            look=partial(_look_at_seals, outside),
        ),
        Check(
            name="files",
            description=f"The log has taken in what lies in {DONE} of the landing folder.",
            whole=True,
            total=lambda _: count_done(landing) if isinstance(landing, Path) else 0,
            look=partial(_look_at_files, landing),
        ),
    ]


def run(connection: Connection, check: Check, on_progress: Progress = lambda _: None) -> Checked:
    """Look at one invariant. What the role may not read, or a replica cannot do, is a doubt."""
    started = time.monotonic()
    found = _Found()
    try:
        check.look(connection, found, on_progress)
    except psycopg.errors.ReadOnlySqlTransaction:
        found.doubts.append("it needs temporary tables, which a standby does not have: ask the primary")
    except psycopg.Error as error:
        if connection.closed:
            raise
        found.doubts.append(refusal(error))
    except OSError as error:
        found.doubts.append(f"cannot use {error.filename}: {error.strerror}")
    return Checked(
        name=check.name,
        description=check.description,
        verdict=VIOLATED if found.problem_count else UNKNOWN if found.doubts else HOLDS,
        looked_at=found.looked_at,
        whole=check.whole,
        problems=found.problems,
        problem_count=found.problem_count,
        doubts=list(dict.fromkeys(found.doubts)),
        skipped=found.skipped,
        seconds=time.monotonic() - started,
    )


def verdict_of(checked: Iterable[Checked]) -> str:
    """Of all of them together."""
    verdicts = {each.verdict for each in checked}
    return next((each for each in (VIOLATED, UNKNOWN) if each in verdicts), HOLDS)


def _of_proof(proof: Proof, sample: int | None) -> Check:
    sampled = proof.sample if sample is not None else None
    return Check(
        name=proof.name,
        description=proof.description,
        whole=sampled is None,
        total=(lambda connection: min(sample or 0, proof.total(connection))) if sampled else proof.total,
        look=partial(_look_by_proof, proof, sample if sampled else None),
    )


def _look_by_proof(
    proof: Proof, sample: int | None, connection: Connection, found: _Found, on_progress: Progress
) -> None:
    for share in _shares(proof, connection, sample):
        found.looked_at += share.events
        found.add(_problem(proof, finding) for finding in share.findings)
        if share.doubt:
            found.doubts.append(share.doubt)
        on_progress(share.events)


def _shares(proof: Proof, connection: Connection, sample: int | None) -> Iterator[Share]:
    if sample is not None and proof.sample is not None:
        yield proof.sample(connection, sample)
        return
    position: str | None = None
    while True:
        share = proof.prove(connection, position, _SHARE)
        yield share
        position = share.until
        if position is None:
            return


def _problem(proof: Proof, finding: Finding) -> Problem:
    try:
        order_id = UUID(finding.subject) if proof.kind != "id_twice" else None
    except ValueError:
        order_id = None
    return Problem(
        kind=finding.kind or proof.kind,
        table=finding.table or proof.table or proof.name,
        detail=finding.what,
        order_id=order_id,
        id=None if order_id else finding.subject,
    )


def _look_at_seals(outside: Outside, connection: Connection, found: _Found, on_progress: Progress) -> None:
    if not seal_status(connection).checkpoint and not outside.trusted():
        found.skipped = "nothing was ever sealed"
        return
    verified = verify(connection, outside, on_progress=on_progress)
    found.looked_at = verified.verified
    found.doubts += verified.doubts
    found.add(
        Problem(
            kind=f"seal_{problem.kind}",
            table="order_events",
            detail=problem.detail,
            order_id=problem.order_id,
            id=None if problem.id is None else str(problem.id),
        )
        for problem in verified.problems
    )
    found.problem_count = max(found.problem_count, verified.problem_count)


def _look_at_files(landing: Path | str, connection: Connection, found: _Found, on_progress: Progress) -> None:
    if isinstance(landing, str):
        found.skipped = f"{landing} is not on this machine"
        return
    if not (landing / DONE).is_dir():
        found.skipped = f"there is no folder {landing / DONE}"
        return
    for looked_at, unknown in files_unknown(connection, landing):
        found.looked_at += looked_at
        found.add(
            Problem(
                kind="file_unknown",
                table="ingested_files",
                id=file,
                detail="the log does not know it: `eventstore ingest` it again, what is there is a duplicate",
            )
            for file in unknown
        )
        on_progress(looked_at)
