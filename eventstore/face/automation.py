"""Whether Dagster runs, and which of its schedules and sensors somebody has switched off.

Read from its own tables, since the store knows nothing of Dagster: what is not there is not judged.
"""

from contextlib import closing
from datetime import timedelta
from typing import Any

import msgspec
import psycopg

from eventstore.kernel.counted import lasting
from eventstore.kernel.verdicts import Verdict
from eventstore.server.settings import dagster_database_url

_HEARTBEAT_S = 120
_TIMEOUT_S = 2


def judge_automation(url: str) -> list[Verdict]:
    """Verdicts on the Dagster beside the store at ``url``; none where there never was one."""
    try:
        with closing(
            psycopg.connect(dagster_database_url(url), autocommit=True, connect_timeout=_TIMEOUT_S)
        ) as found:
            return _judge(found)
    except psycopg.Error:
        return []


def _judge(connection: psycopg.Connection[Any]) -> list[Verdict]:
    connection.execute(f"SET statement_timeout = '{_TIMEOUT_S}s'")
    (silent_s,) = connection.execute(
        "SELECT extract(epoch FROM (now() AT TIME ZONE 'UTC') - max(timestamp))::float8 "
        "FROM daemon_heartbeats"
    ).fetchone() or (None,)
    if silent_s is None:
        return []
    if silent_s > _HEARTBEAT_S:
        silence = lasting(timedelta(seconds=silent_s))
        return [
            Verdict(
                code="dagster-stopped",
                level="warn",
                subject="schedules",
                sentence=f"Dagster has not run for {silence}: nothing happens by the clock",
                next="make up, or eventstore refresh --follow",
            )
        ]
    rows = connection.execute(
        "SELECT instigator_body FROM instigators WHERE status = 'STOPPED' ORDER BY id"
    ).fetchall()
    off = sorted(filter(None, (_name(body) for (body,) in rows)))
    if off:
        return [
            Verdict(
                code="schedules-off",
                level="warn",
                subject="schedules",
                sentence=f"switched off: {', '.join(off)}",
                next="switch them on in Dagster, Automation",
            )
        ]
    return [Verdict(code="schedules", level="ok", subject="schedules", sentence="Dagster runs, all are on")]


def _name(body: str) -> str | None:
    """The name of a schedule or sensor in what Dagster keeps of it."""
    try:
        origin = msgspec.json.decode(body)["origin"]
        return str(origin.get("instigator_name") or origin.get("job_name"))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return None
