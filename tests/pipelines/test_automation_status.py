"""What `eventstore status` says of the Dagster beside the store, from what Dagster itself wrote."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._daemon.types import DaemonHeartbeat

from eventstore.face.automation import judge_automation
from eventstore.kernel.verdicts import Verdict
from pipelines.instance import prepare


@pytest.fixture
def instance(home: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    for name in ("DAGSTER_HOME", "EVENTSTORE_HOME", "EVENTSTORE_DAGSTER_URL"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # what prepare() sets ends with the test
    monkeypatch.setenv("EVENTSTORE_HOME", str(home))
    prepare()
    with dg.DagsterInstance.get() as instance:
        yield instance


@pytest.fixture
def judged(database_url: str) -> Callable[[], Verdict]:
    def judge() -> Verdict:
        [verdict] = judge_automation(database_url)
        return verdict

    return judge


def beat(instance: dg.DagsterInstance, ago: timedelta = timedelta()) -> None:
    at = (datetime.now(UTC) - ago).timestamp()
    instance.add_daemon_heartbeat(DaemonHeartbeat(at, "SCHEDULER", "a-daemon"))


def switch_off(instance: dg.DagsterInstance, schedule: str) -> InstigatorState:
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("orders"), "__repository__")
    state = InstigatorState(
        RemoteInstigatorOrigin(repository, schedule),
        InstigatorType.SCHEDULE,
        InstigatorStatus.STOPPED,
        ScheduleInstigatorData("* * * * *"),
    )
    instance.add_instigator_state(state)
    return state


def test_a_store_without_dagster_is_not_judged_for_it(database_url: str) -> None:
    assert judge_automation(database_url) == []


def test_a_dagster_that_never_ran_is_not_judged(instance: dg.DagsterInstance, database_url: str) -> None:
    assert instance.get_daemon_heartbeats() == {}
    assert judge_automation(database_url) == []


def test_schedules_that_somebody_switched_off_warn_by_name_until_they_are_on_again(
    instance: dg.DagsterInstance, judged: Callable[[], Verdict]
) -> None:
    beat(instance)
    assert (judged().code, judged().level) == ("schedules", "ok")
    state = switch_off(instance, "orders_every_minute")
    assert (judged().code, judged().level) == ("schedules-off", "warn")
    assert "switched off: orders_every_minute" in judged().sentence
    instance.update_instigator_state(state.with_status(InstigatorStatus.RUNNING))
    assert judged().code == "schedules"


def test_a_dagster_that_does_not_run_any_more_warns(
    instance: dg.DagsterInstance, judged: Callable[[], Verdict]
) -> None:
    beat(instance, timedelta(hours=3))
    assert (judged().code, judged().level) == ("dagster-stopped", "warn")
    assert "3 h" in judged().sentence
    beat(instance)
    assert judged().level == "ok"


def test_what_dagster_keeps_in_another_form_breaks_nothing(
    instance: dg.DagsterInstance, database_url: str, judged: Callable[[], Verdict]
) -> None:
    beat(instance)
    switch_off(instance, "orders_every_minute")
    with psycopg.connect(database_url.replace("?", "_dagster?", 1), autocommit=True) as theirs:
        theirs.execute("UPDATE instigators SET instigator_body = 'no json'")
        assert judged().level == "ok"
        theirs.execute("DROP TABLE instigators")
    assert judge_automation(database_url) == []
