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

from eventstore.face.automation import Automation, judge_automation, read_automation
from eventstore.kernel.verdicts import Verdict
from eventstore.server.settings import dagster_database_url
from pipelines.instance import prepare
from pipelines.watch import automation


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
        [verdict] = judge_automation(read(database_url))
        return verdict

    return judge


def read(url: str, *tables: str) -> Automation:
    found = read_automation(url, tables)
    assert found is not None
    return found


def beat(instance: dg.DagsterInstance, ago: timedelta = timedelta(), daemon: str = "SCHEDULER") -> None:
    at = (datetime.now(UTC) - ago).timestamp()
    instance.add_daemon_heartbeat(DaemonHeartbeat(at, daemon, "a-daemon"))


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
    assert read_automation(database_url, ()) is None


def test_a_dagster_that_never_ran_is_not_judged(instance: dg.DagsterInstance, database_url: str) -> None:
    assert instance.get_daemon_heartbeats() == {}
    assert read_automation(database_url, ()) is None


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
    with psycopg.connect(dagster_database_url(database_url), autocommit=True) as theirs:
        theirs.execute("UPDATE instigators SET instigator_body = 'no json'")
        assert judged().level == "ok"
        theirs.execute("DROP TABLE instigators")
    assert read_automation(database_url, ()) is None


def test_one_daemon_that_does_not_answer_any_more_warns_and_one_of_an_older_dagster_does_not(
    instance: dg.DagsterInstance, judged: Callable[[], Verdict]
) -> None:
    beat(instance)
    beat(instance, timedelta(days=30), "OF_OLD")
    assert judged().code == "schedules"
    beat(instance, timedelta(hours=1), "SENSOR")
    assert judged().code == "daemon-silent"
    assert judged().sentence.endswith(": SENSOR")


def test_the_terminal_and_the_page_have_the_same_facts(
    instance: dg.DagsterInstance, database_url: str
) -> None:
    beat(instance, timedelta(minutes=7))
    switch_off(instance, "orders_every_minute")
    instance.report_runless_asset_event(dg.AssetMaterialization("orders"))
    here, there = read(database_url, "orders", "customers"), automation(instance, datetime.now(UTC))
    assert here.off == there.off == {"orders_every_minute"}
    assert here.silent_s == pytest.approx(there.silent_s, abs=5)
    assert here.ages.keys() == there.ages.keys() == {"orders"}
    assert here.ages["orders"] - there.ages["orders"] < timedelta(seconds=5)
    assert judge_automation(here) == judge_automation(there)
