"""What the sensor `alerts` tells, and that nothing is lost or told twice."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from eventstore.alerts.channels import Channel, channels
from eventstore.log.settings import change_setting
from pipelines import alerts as alerting
from pipelines.resources import EventStore
from tests.alerts.receivers import Hook, mail_server, web_server

CHECK = dg.AssetKey("orders"), "quarantined"


@dg.op
def breaks() -> None:
    raise dg.Failure("No rule for that: postgresql://ann:pa55word@host/db", allow_retries=False)


@dg.op
def works() -> None:
    pass


@dg.job(name="nightly")
def broken() -> None:
    breaks()


@dg.job(name="nightly")
def mended() -> None:
    works()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def hook(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with web_server() as serving:
        monkeypatch.setenv("ALERT_WEBHOOK_URL", serving.url)
        yield serving


class Sensor:
    """The sensor as the daemon runs it: the cursor goes on, and so does the clock."""

    def __init__(self, defs: dg.Definitions, instance: dg.DagsterInstance, url: str, patch: Any) -> None:
        self.cursor: str | None = None
        self.later = 0.0
        self._defs, self._instance, self.store = defs, instance, EventStore(url=url)
        patch.setattr(alerting, "clock", lambda: time.time() + self.later)

    def tick(self, later: float = 0) -> str:
        self.later += later
        context = dg.build_sensor_context(
            instance=self._instance,
            cursor=self.cursor,
            definitions=self._defs,
            resources={"store": self.store},
        )
        [skipped] = list(alerting.alerts(context))  # type: ignore[arg-type]
        self.cursor = context.cursor
        return str(skipped.skip_message)


@pytest.fixture
def sensor(
    defs: dg.Definitions, instance: dg.DagsterInstance, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Sensor:
    return Sensor(defs, instance, database_url, monkeypatch)


@pytest.fixture
def check(instance: dg.DagsterInstance) -> Callable[..., None]:
    """Evaluates a check of the code location."""

    def evaluate(passed: bool, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR) -> None:
        asset, name = CHECK
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=asset,
                check_name=name,
                passed=passed,
                severity=severity,
                description="3 orders show less." if not passed else "",
            )
        )

    return evaluate


def told(hook: Hook) -> list[tuple[str, str]]:
    return [(each["event"], each["title"]) for posted in hook.posted for each in posted["alerts"]]


def test_with_nothing_configured_a_tick_says_so_and_asks_nobody(
    sensor: Sensor, home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EventStore, "connect", lambda _: pytest.fail("the database is asked"))
    assert "neither ALERT_WEBHOOK_URL nor alert_mail_to is set" in sensor.tick()
    assert sensor.cursor is None


def test_a_failed_run_is_told_once_with_its_reason_and_its_recovery(
    sensor: Sensor, hook: Hook, instance: dg.DagsterInstance
) -> None:
    assert sensor.tick() == "Nothing to tell."
    failed = broken.execute_in_process(instance=instance, raise_on_error=False)
    assert "1 told" in sensor.tick()
    [posted] = hook.posted
    [alert] = posted["alerts"]
    assert (alert["event"], alert["kind"], alert["title"]) == ("begins", "run", "run of nightly")
    assert alert["text"] == "breaks: No rule for that: postgresql://ann:…@host/db"
    assert alert["link"].endswith(f"/runs/{failed.run_id}")
    assert alert["runbook"] == "docs/runbook.md#alert-run"
    assert "FAILED: run of nightly: breaks: No rule for that" in posted["text"]
    for _ in range(3):
        broken.execute_in_process(instance=instance, raise_on_error=False)
        assert sensor.tick(60) == "Nothing to tell."
    mended.execute_in_process(instance=instance)
    sensor.tick(30)
    sensor.tick(130)
    sensor.tick(3600)
    assert told(hook) == [("begins", "run of nightly"), ("over", "run of nightly")]


def test_a_failure_that_was_made_good_before_the_tick_is_told_too(
    sensor: Sensor, hook: Hook, instance: dg.DagsterInstance
) -> None:
    sensor.tick()
    broken.execute_in_process(instance=instance, raise_on_error=False)
    mended.execute_in_process(instance=instance)
    sensor.tick()
    sensor.tick(180)
    assert told(hook) == [("begins", "run of nightly"), ("over", "run of nightly")]


def test_a_run_that_is_tried_again_is_not_told_unless_its_retry_fails_or_never_comes(
    sensor: Sensor, hook: Hook, instance: dg.DagsterInstance
) -> None:
    sensor.tick()

    def fail() -> str:
        run = broken.execute_in_process(
            instance=instance, raise_on_error=False, tags={WILL_RETRY_TAG: "true"}
        )
        instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "true"})
        return run.run_id

    first = fail()
    assert sensor.tick(30) == "Nothing to tell."
    instance.add_run_tags(first, {AUTO_RETRY_RUN_ID_TAG: "of the retry"})
    assert sensor.tick(60) == "Nothing to tell."
    second = fail()
    assert sensor.tick(30) == "Nothing to tell."
    assert "1 told" in sensor.tick(600)
    assert hook.posted[0]["alerts"][0]["link"].endswith(second)


def test_a_check_is_told_when_it_fails_and_when_it_passes_again_in_one_message_with_all_else(
    sensor: Sensor, hook: Hook, instance: dg.DagsterInstance, check: Callable[..., None]
) -> None:
    check(True)
    sensor.tick()
    check(False)
    broken.execute_in_process(instance=instance, raise_on_error=False)
    sensor.tick()
    assert len(hook.posted) == 1
    assert told(hook) == [("begins", "run of nightly"), ("begins", "orders.quarantined")]
    check(True)
    sensor.tick(60)
    sensor.tick(130)
    assert told(hook)[2:] == [("over", "orders.quarantined")]


def test_warnings_are_told_unless_the_setting_says_otherwise(
    sensor: Sensor, hook: Hook, check: Callable[..., None], connection: psycopg.Connection[Any]
) -> None:
    change_setting(connection, "alert_warnings", "false")
    check(False, dg.AssetCheckSeverity.WARN)
    assert sensor.tick() == "Nothing to tell."
    change_setting(connection, "alert_warnings", "true")
    sensor.tick()
    assert "WARNING: orders.quarantined: 3 orders show less." in hook.posted[0]["text"]


def test_a_check_that_a_run_is_about_to_evaluate_still_says_what_it_said(
    sensor: Sensor, hook: Hook, defs: dg.Definitions, instance: dg.DagsterInstance, check: Callable[..., None]
) -> None:
    check(False)
    sensor.tick()
    instance.create_run_for_job(defs.resolve_job_def("refresh_orders"))
    for _ in range(3):
        sensor.tick(300)
    assert told(hook) == [("begins", "orders.quarantined")]


def test_what_cannot_be_delivered_waits_is_seen_on_the_page_and_arrives_in_one_message(
    sensor: Sensor, hook: Hook, instance: dg.DagsterInstance, check: Callable[..., None]
) -> None:
    sensor.tick()
    hook.status = 503
    check(False)
    assert "1 wait (the webhook answered 503)" in sensor.tick()
    key = dg.AssetCheckKey(dg.AssetKey("order_events"), "alerts")
    [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    assert "53cret" not in str(record.event)
    broken.execute_in_process(instance=instance, raise_on_error=False)
    sensor.tick(60)
    hook.status = 200
    sensor.tick(1000)
    [posted] = hook.posted
    events = {(each["event"], each["title"]) for each in posted["alerts"]}
    assert {("begins", "orders.quarantined"), ("begins", "run of nightly")} <= events
    assert "53cret" not in (sensor.cursor or "")


def test_a_tick_that_died_before_its_cursor_was_kept_tells_again_and_loses_nothing(
    sensor: Sensor, hook: Hook, check: Callable[..., None]
) -> None:
    sensor.tick()
    before = sensor.cursor
    check(False)
    sensor.tick()
    sensor.cursor = before
    sensor.tick()
    assert told(hook) == [("begins", "orders.quarantined")] * 2


def test_each_channel_gets_everything_once_while_the_other_is_away(
    sensor: Sensor, hook: Hook, home: Path, check: Callable[..., None]
) -> None:
    with mail_server() as box:
        (home / "eventstore.toml").write_text(
            f'alert_mail_to = "ann@example.com"\nsmtp_server = "{box.address}"\nsmtp_security = "none"\n'
        )
        sensor.tick()
        box.answer = "451 later"
        check(False)
        assert "mail: 1 wait (the mail server answered 451)" in sensor.tick()
        box.answer = "250 OK"
        sensor.tick(60)
        sensor.tick(60)
        assert len(box.mails) == 1
        assert "orders.quarantined" in box.mails[0][1]
    assert told(hook).count(("begins", "orders.quarantined")) == 1


def test_a_cursor_that_somebody_spoiled_is_as_good_as_none(
    sensor: Sensor, hook: Hook, check: Callable[..., None]
) -> None:
    check(False)
    sensor.cursor = '{"known": 7}'
    sensor.tick()
    assert told(hook) == [("begins", "orders.quarantined")]


def test_alerts_go_out_while_the_database_of_the_store_is_away(
    sensor: Sensor, hook: Hook, check: Callable[..., None]
) -> None:
    sensor.store = EventStore(url="postgresql://nobody@127.0.0.1:1/nowhere")
    check(False)
    sensor.tick()
    assert told(hook) == [("begins", "orders.quarantined")]


def test_an_error_that_nobody_thought_of_is_no_reason_to_tell_the_others_twice(
    sensor: Sensor, hook: Hook, check: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_: object) -> None:
        raise RuntimeError("53cret")

    ways = [*channels(), Channel("odd", explode)]
    monkeypatch.setattr(alerting, "channels", lambda: ways)
    check(False)
    assert "odd: 1 wait (unexpected: RuntimeError)" in sensor.tick()
    sensor.tick(60)
    assert told(hook).count(("begins", "orders.quarantined")) == 1
    assert "53cret" not in (sensor.cursor or "")
