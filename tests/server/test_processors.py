"""How many processors runs are planned for."""

from pathlib import Path

import pytest

from eventstore.server import settings
from eventstore.server.errors import ServerError
from eventstore.server.processors import VARIABLE, processors


@pytest.mark.parametrize(
    ("quota", "at_most"), [("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1)]
)
def test_a_container_has_the_processors_of_its_quota(tmp_path: Path, quota: str, at_most: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    assert 1 <= processors(tmp_path / "cpu.max") <= at_most


@pytest.mark.parametrize("quota", ["max 100000", "", "0 0", "word"])
def test_without_a_quota_it_has_those_of_the_machine(tmp_path: Path, quota: str) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    assert processors(tmp_path / "cpu.max") == processors(tmp_path / "missing")


@pytest.mark.parametrize("said", ["0", "-1", "two", "1.5", "99999"])
def test_what_is_no_number_of_processors_is_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(VARIABLE, said)
    with pytest.raises(ServerError, match="whole number from 1 to 10000"):
        processors()


@pytest.mark.parametrize(
    ("cpus", "runs", "replays", "buckets"), [(1, 8, 2, 4), (2, 8, 2, 4), (4, 8, 4, 2), (64, 128, 64, 1)]
)
def test_without_a_setting_there_are_runs_for_all_processors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpus: int, runs: int, replays: int, buckets: int
) -> None:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    monkeypatch.delenv("EVENTSTORE_BUCKETS", raising=False)
    monkeypatch.setenv(VARIABLE, str(cpus))
    assert (settings.concurrent_runs(), settings.replay_runs()) == (runs, replays)
    assert settings.buckets_per_run() == buckets
    (tmp_path / "eventstore.toml").write_text("concurrent_runs = 3\nreplay_runs = 5\nbuckets_per_run = 16\n")
    assert (settings.concurrent_runs(), settings.replay_runs()) == (3, 5)
    assert settings.buckets_per_run() == 16


@pytest.mark.parametrize(
    ("buckets", "cpus", "a_run"),
    [(1, 2, 1), (4, 2, 1), (256, 2, 64), (256, 16, 8), (256, 64, 2), (64, 64, 1)],
)
def test_a_run_takes_more_buckets_where_there_are_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, buckets: int, cpus: int, a_run: int
) -> None:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    monkeypatch.setenv("EVENTSTORE_BUCKETS", str(buckets))
    monkeypatch.setenv(VARIABLE, str(cpus))
    assert settings.buckets_per_run() == a_run
