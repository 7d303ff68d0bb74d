"""Whether Dagster runs, what somebody has switched off of it, and when it last made each table.

What is judged here, `eventstore status` reads from Dagster's own tables, since the store knows nothing of
Dagster; Dagster itself knows it. What is not there is not judged.
"""

from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
import psycopg

from eventstore.kernel.counted import lasting
from eventstore.kernel.verdicts import Verdict
from eventstore.server.settings import dagster_database_url

#: All of Dagster's daemons are silent for so long: it does not run. One may be at work for longer.
_STOPPED_S, _SILENT_S = 120, 1800
#: One that is silent for longer than this, while others are not, is of an older Dagster.
_FORGOTTEN_S = 86_400
_TIMEOUT_S = 2

_AGES = """
    SELECT name, (SELECT extract(epoch FROM (now() AT TIME ZONE 'UTC') - timestamp)::float8 FROM event_logs
                   WHERE asset_key = json_build_array(name)::text
                     AND dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY id DESC LIMIT 1)
      FROM unnest(%s::text[]) AS names (name)
"""


class Automation(NamedTuple):
    """What starts runs by itself, as it is now."""

    off: frozenset[str]  #: names of schedules and sensors that somebody switched off
    silent_s: Mapping[str, float]  #: for how long each of Dagster's daemons has given no sign of life
    ages: Mapping[str, timedelta]  #: how long ago each table was last made by a run

    @property
    def runs(self) -> bool:
        """Whether any daemon is alive."""
        return min(self.silent_s.values(), default=0.0) <= _STOPPED_S


def judge_automation(state: Automation) -> list[Verdict]:
    """What should start runs by itself and does not."""
    if not state.runs:
        silence = lasting(timedelta(seconds=min(state.silent_s.values())))
        return [
            _warning(
                "dagster-stopped",
                f"Dagster has not run for {silence}: nothing happens by the clock",
                "make up, or eventstore refresh --follow",
            )
        ]
    found = []
    silent = sorted(name for name, s in state.silent_s.items() if _SILENT_S < s < _FORGOTTEN_S)
    if silent:
        found.append(
            _warning("daemon-silent", f"Dagster's daemon does not answer: {', '.join(silent)}", "make up")
        )
    if state.off:
        found.append(
            _warning(
                "schedules-off",
                f"switched off: {', '.join(sorted(state.off))}",
                "switch them on in Dagster, Automation",
            )
        )
    return found or [
        Verdict(code="schedules", level="ok", subject="schedules", sentence="Dagster runs, all are on")
    ]


def read_automation(url: str, tables: Iterable[str]) -> Automation | None:
    """The Dagster beside the store at ``url``; None where there never was one."""
    try:
        with closing(
            psycopg.connect(dagster_database_url(url), autocommit=True, connect_timeout=_TIMEOUT_S)
        ) as found:
            return _read(found, list(tables))
    except psycopg.Error:
        return None


def _read(connection: psycopg.Connection[Any], tables: list[str]) -> Automation | None:
    connection.execute(f"SET statement_timeout = '{_TIMEOUT_S}s'")
    silent_s = dict(
        connection.execute(
            "SELECT daemon_type, extract(epoch FROM (now() AT TIME ZONE 'UTC') - timestamp)::float8 "
            "FROM daemon_heartbeats"
        ).fetchall()
    )
    if not silent_s:
        return None
    bodies = connection.execute("SELECT instigator_body FROM instigators WHERE status = 'STOPPED'")
    ages = connection.execute(_AGES, (tables,)).fetchall()
    return Automation(
        off=frozenset(filter(None, (_name(body) for (body,) in bodies))),
        silent_s=silent_s,
        ages={name: timedelta(seconds=seconds) for name, seconds in ages if seconds is not None},
    )


def _name(body: str) -> str | None:
    """The name of a schedule or sensor in what Dagster keeps of it."""
    try:
        origin = msgspec.json.decode(body)["origin"]
        return str(origin.get("instigator_name") or origin.get("job_name"))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return None


def _warning(code: str, sentence: str, next_: str) -> Verdict:
    return Verdict(code=code, level="warn", subject="schedules", sentence=sentence, next=next_)
