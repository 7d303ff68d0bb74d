"""Verdicts on what guards the store: proofs of the read models, seals of the log, backups."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from eventstore.engine.prover import Proven
from eventstore.kernel.counted import counted, lasting
from eventstore.kernel.verdicts import Verdict
from eventstore.seals.status import SealStatus
from eventstore.seals.status import in_words as seals_in_words
from eventstore.server.backup.catalogue import LastBackup

#: What is done each night is late after so long.
_NIGHTLY = timedelta(hours=50)


def judge_proofs(proofs: Mapping[str, Proven]) -> Verdict:
    """Whether a row is known to be wrong, and the age of the oldest proof."""
    wrong = {name: proof.findings for name, proof in proofs.items() if proof.findings}
    if wrong:
        number = sum(wrong.values())
        return Verdict(
            code="proof-failed",
            level="fail",
            subject="proofs",
            sentence=f"{counted(number, 'finding')} in {', '.join(wrong)}: what must hold does not",
            next="eventstore status --details; eventstore check --all names all of it",
        )
    times = [proof.proven_at for proof in proofs.values() if proof.proven_at is not None]
    if not times:
        return Verdict(code="proof", level="ok", subject="proofs", sentence="nothing has been proven yet")
    age = datetime.now(UTC) - min(times)
    is_old = age > _NIGHTLY
    return Verdict(
        code="proof",
        level="warn" if is_old else "ok",
        subject="proofs",
        sentence=f"nothing was found; the oldest is {lasting(age)} old",
        next="eventstore prove" if is_old else None,
    )


def judge_seals(seals: SealStatus) -> Verdict:
    said = seals_in_words(seals)
    if seals.verification.failing or seals.verification.problems:
        return Verdict(
            code="seals-broken", level="fail", subject="seals", sentence=said, next="eventstore verify"
        )
    is_late = bool(seals.checkpoint) and timedelta(seconds=seals.unsealed_seconds) > _NIGHTLY
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
