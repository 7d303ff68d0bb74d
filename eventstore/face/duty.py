"""Everything that a person on duty is answerable for, judged: for `eventstore status`, and for watchers.

What joins the store brings a judgement of its own, and has its line here.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from eventstore.engine.domain import Domain
from eventstore.engine.judging import judge_store
from eventstore.engine.status import Status, status
from eventstore.face.automation import judge_automation, read_automation
from eventstore.face.guarding import judge_backup, judge_findings, judge_proofs, judge_seals
from eventstore.ingestion.judging import judge_damaged, judge_landing, judge_rejects
from eventstore.kernel.verdicts import Verdict
from eventstore.log.connection import Connection
from eventstore.log.settings import policy
from eventstore.seals.status import SealStatus, seal_status
from eventstore.server.backup.catalogue import LastBackup, last_backup
from eventstore.server.settings import backups, move_files


class Duty(NamedTuple):
    status: Status
    seals: SealStatus
    backup: LastBackup | None
    verdicts: list[Verdict]


def judge(connection: Connection, domain: Domain[Any], url: str, landing: Path | str) -> Duty:
    """How the store at ``url`` is, and what is to be done. Writes nothing."""
    now, seals, limits = status(connection, domain), seal_status(connection), policy(connection)
    automation = read_automation(url, now.projections)
    folder = backups()
    backup = last_backup(folder)
    return Duty(
        now,
        seals,
        backup,
        [
            *judge_store(connection, domain, now, automation.ages if automation and automation.runs else {}),
            judge_rejects(connection),
            *judge_damaged(connection),
            judge_landing(connection, landing, domain.formats, moves=move_files()),
            *(judge_automation(automation) if automation else []),
            *judge_findings(now.proofs),
            *judge_proofs(now.proofs, seals, limits, datetime.now(UTC)),
            judge_seals(seals, limits, by_clock=automation is not None),
            judge_backup(folder, backup),
        ],
    )
