"""Verdicts on what guards the store: proofs of the read models, seals of the log, backups."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from eventstore.engine.prover import Proven
from eventstore.kernel.counted import counted, lasting
from eventstore.kernel.verdicts import Verdict
from eventstore.log.settings import Policy
from eventstore.seals.status import SealStatus
from eventstore.seals.status import in_words as seals_in_words
from eventstore.server.backup.catalogue import LastBackup

#: A backup is taken each night, and late after so long.
_NIGHTLY = timedelta(hours=50)


def judge_findings(proofs: Mapping[str, Proven]) -> list[Verdict]:
    """Whether a row of a read model is known to be wrong."""
    wrong = {name: proof.findings for name, proof in proofs.items() if proof.findings}
    if not wrong:
        return []
    return [
        Verdict(
            code="proof-failed",
            level="fail",
            subject="proofs",
            sentence=f"{counted(sum(wrong.values()), 'finding')} in {', '.join(wrong)}: what must "
            "hold does not",
            next="eventstore check --all, which names each, then eventstore rebuild",
        )
    ]


def judge_proofs(
    proofs: Mapping[str, Proven], seals: SealStatus, limits: Policy, now: datetime
) -> list[Verdict]:
    """How old the last proof of each read model is, and that of the seals.

    What was never proven is as old as the first checkpoint: a new store has time.
    """
    made = {name: proof.proven_at for name, proof in proofs.items()}
    found = [_judge_ages("proofs", made, seals.begun_at, limits, now, "eventstore prove")]
    if seals.begun_at:
        of_seals = {"the seals": seals.verification.verified_at}
        found.append(
            _judge_ages("proof of seals", of_seals, seals.begun_at, limits, now, "eventstore verify --share")
        )
    return found


def _judge_ages(
    subject: str,
    made: Mapping[str, datetime | None],
    begun_at: datetime | None,
    limits: Policy,
    now: datetime,
    remedy: str,
) -> Verdict:
    ages = {name: now - since for name, at in made.items() if (since := at or begun_at)}
    old = {name: age for name, age in ages.items() if age > limits.max_proof_age}
    never = [name for name in old if made[name] is None]
    before = [name for name in old if made[name] is not None]
    sentences = [f"{', '.join(never)} never proven"] if never else []
    if before:
        age = lasting(max(old[name] for name in before))
        sentences.append(f"the last proof of {', '.join(before)} is {age} old")
    if not old:
        times = [at for at in made.values() if at]
        sentences = [
            f"proven in time, the oldest {lasting(now - min(times))} ago" if times else "none made yet"
        ]
    return Verdict(
        code="proof",
        level="warn" if old else "ok",
        subject=subject,
        sentence="; ".join(sentences),
        next=remedy if old else None,
    )


def unsealed_for_long(seals: SealStatus, limits: Policy) -> bool:
    """Whether an event has been waiting for its seal for too long."""
    return timedelta(seconds=seals.unsealed_seconds) > limits.max_unsealed


def judge_seals(seals: SealStatus, limits: Policy, *, by_clock: bool) -> Verdict:
    """Whether the log is as it was sealed, and sealed in time. Who never sealed, and has nothing that does so
    by the clock, does not want it.
    """
    said = seals_in_words(seals)
    if seals.verification.failing or seals.verification.problems:
        return Verdict(
            code="seals-broken", level="fail", subject="seals", sentence=said, next="eventstore verify"
        )
    is_late = (bool(seals.checkpoint) or by_clock) and unsealed_for_long(seals, limits)
    return Verdict(
        code="seals",
        level="warn" if is_late else "ok",
        subject="seals",
        sentence=said,
        next="eventstore seal" if is_late else None,
    )


def judge_backup(folder: Path | None, last: LastBackup | None) -> Verdict:
    """The age of the last good one; where none are wanted, that is no mistake."""
    if folder is None:
        return Verdict(
            code="backup",
            level="ok",
            subject="backup",
            sentence="none are taken: EVENTSTORE_BACKUPS says where to",
        )
    if last is None:
        return Verdict(
            code="backup-missing",
            level="warn",
            subject="backup",
            sentence=f"none yet in {folder}",
            next="eventstore backup",
        )
    age = timedelta(seconds=last.age_seconds)
    is_old = age > _NIGHTLY
    archived = (
        ""
        if last.archived_seconds_ago is None
        else f", the log after it up to {lasting(timedelta(seconds=last.archived_seconds_ago))} ago"
    )
    return Verdict(
        code="backup",
        level="warn" if is_old else "ok",
        subject="backup",
        sentence=f"a {last.kind} of {lasting(age)} ago{archived}",
        next="eventstore backup" if is_old else None,
    )
