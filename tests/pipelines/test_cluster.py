"""Runs on other machines, without any: where a run belongs, and what a node needs to execute it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin

from eventstore.server.errors import ServerError
from pipelines.cluster import reach, worker
from pipelines.cluster.doubts import Doubts
from pipelines.cluster.here import is_here
from pipelines.cluster.places import ON_HOST, WHERE_FILES_ARE, stays
from pipelines.cluster.token import made_token
from pipelines.definitions import build_defs
from pipelines.instance import plan_for_the_cluster, prepare, write_dagster_yaml


@pytest.fixture
def clean_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def run_of(*assets: str, job: str = "__ASSET_JOB", config: Any = None, **tags: str) -> dg.DagsterRun:
    selected = frozenset(map(dg.AssetKey, assets)) or None
    return dg.DagsterRun(job_name=job, asset_selection=selected, run_config=config, tags=tags)


FILES = {"ops": {"order_events": {"config": {"paths": ["/tmp/a.ndjson"]}}}}
URLS = {"ops": {"order_events": {"config": {"paths": ["s3://bucket/a.ndjson"]}}}}


@pytest.mark.parametrize(
    ("run", "at_home"),
    [
        (run_of("orders", "orders_replay"), False),
        (run_of(job="refresh_orders"), False),
        (run_of("order_events"), True),  # "Materialize" on its page: no job of ours, no tag
        (run_of("order_events", "orders"), True),
        (run_of("log_seals"), True),
        (run_of(job="seal_log", **ON_HOST), True),
        (run_of(job="ingest", **WHERE_FILES_ARE), True),
        (run_of(job="ingest", config=FILES, **WHERE_FILES_ARE), True),
        (run_of(job="ingest", config=URLS, **WHERE_FILES_ARE), False),
    ],
)
def test_a_run_that_touches_folders_stays_on_its_host(home: Path, run: dg.DagsterRun, at_home: bool) -> None:
    assert stays(run) is at_home


def test_ingestion_leaves_its_host_where_the_landing_folder_is_a_url(home: Path) -> None:
    (home / "eventstore.toml").write_text('landing = "s3://bucket/landing"\n')
    assert not stays(run_of("order_events"))
    assert stays(run_of("order_events", config=FILES))
    assert stays(run_of("log_seals"))


def test_every_job_that_needs_the_host_says_so() -> None:
    repository = build_defs().get_repository_def()
    needing = {"order_events", "log_seals"}
    for job in repository.get_all_jobs():
        touches = {key.path[-1] for key in job.asset_layer.executable_asset_keys} & needing
        if touches and not job.name.startswith("__"):
            assert "eventstore/runs_on" in job.tags, job.name
    for name in ("backup", "retention", "verify_seals"):
        assert repository.get_job(name).tags["eventstore/runs_on"] == "host"


def test_a_doubt_is_too_old_after_the_grace_and_only_without_a_break() -> None:
    now = 0.0
    doubts = Doubts(60, clock=lambda: now)
    assert not doubts.are_too_old("a")
    now = 59
    assert not doubts.are_too_old("a")
    assert not doubts.are_too_old("b")
    now = 60
    assert doubts.are_too_old("a")
    doubts.settle("b")
    now = 120
    assert not doubts.are_too_old("b")


@pytest.mark.parametrize(
    ("address", "mine"), [("127.0.0.1", True), ("::1", True), ("192.0.2.255", False), ("no address", False)]
)
def test_a_node_on_another_machine_is_told_by_its_address(address: str, mine: bool) -> None:
    assert is_here(address) is mine


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("postgresql://me@db.example/shop", False),
        ("postgresql:///shop?host=/run/postgresql", True),
        ("postgresql:///shop", True),
        ("postgresql://db.example,/shop?host=db.example,/tmp", True),
        ("postgresql:///shop?host=db.example", False),
    ],
)
def test_a_unix_socket_and_a_node_elsewhere_are_refused_in_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, url: str, refused: bool
) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    monkeypatch.setenv("DATABASE_URL", url)
    assert reach.why_unreachable(["127.0.0.1"]) is None
    why = reach.why_unreachable(["127.0.0.1", "192.0.2.255"])
    assert (why is not None) is refused
    if why:
        assert "DATABASE_URL names a Unix socket, which the node 192.0.2.255 cannot reach" in why
        assert "\n" not in why


def test_the_embedded_server_and_a_node_elsewhere_are_refused_too(home: Path) -> None:
    assert "embedded PostgreSQL" in str(reach.why_unreachable(["192.0.2.255"]))


def configuration(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((folder / "dagster.yaml").read_text())
    return loaded


def test_one_setting_sends_the_runs_to_the_cluster_and_without_it_all_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dagster_yaml(home, "postgresql://x/y")
    assert configuration(home)["run_launcher"]["class"] == "WatchedRunLauncher"
    (home / "eventstore.toml").write_text('ray_address = "http://head:8265"\n')
    write_dagster_yaml(home, "postgresql://x/y")
    assert configuration(home)["run_launcher"] == {
        "module": "pipelines.cluster.launcher",
        "class": "ClusterRunLauncher",
        "config": {"address": "http://head:8265"},
    }
    monkeypatch.setenv("EVENTSTORE_RAY_ADDRESS", "http://other:1/")
    write_dagster_yaml(home, "postgresql://x/y")
    assert configuration(home)["run_launcher"]["config"]["address"] == "http://other:1"


def test_a_cluster_without_its_packages_is_refused_with_the_remedy(
    home: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pipelines.cluster.head", None)
    (home / "eventstore.toml").write_text('ray_address = "http://head:8265"\n')
    with pytest.raises(ServerError, match=r"pip install 'eventstore\[ray\]'"):
        plan_for_the_cluster()


def test_the_token_is_made_once_and_is_for_its_owner_only(home: Path) -> None:
    file = made_token()
    said = file.read_text()
    assert made_token().read_text() == said
    assert len(said) == 64
    assert file.stat().st_mode & 0o077 == 0


def test_a_node_that_names_no_database_starts_none_and_says_so_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], clean_environment: None
) -> None:
    with pytest.raises(SystemExit):
        worker.main(["some run"])
    said = capsys.readouterr().err
    assert said.startswith("error: this node names no database: set DATABASE_URL")
    assert said.count("\n") == 1
    assert not (home / "postgres").exists()


@pytest.fixture
def node(
    database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None
) -> Callable[..., tuple[int, dg.DagsterRun]]:
    """Executes a run of a job as a node does: it knows the id, and its own environment."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    prepare()
    host = os.environ["DAGSTER_HOME"]
    for name in ("DAGSTER_HOME", "EVENTSTORE_DAGSTER_URL"):
        monkeypatch.delenv(name)
    pointer = ModuleCodePointer("pipelines.definitions", "defs", None)
    repository = RepositoryPythonOrigin("python", pointer)

    def execute(job: str, status: dg.DagsterRunStatus) -> tuple[int, dg.DagsterRun]:
        with dg.DagsterInstance.from_config(host) as instance:
            run = instance.create_run_for_job(
                build_defs().resolve_job_def(job),
                status=status,
                job_code_origin=JobPythonOrigin(job, repository),
            )
            code = worker.main([run.run_id])
            found = instance.get_run_by_id(run.run_id)
            assert found is not None
            return code, found

    return execute


Node = Callable[..., tuple[int, dg.DagsterRun]]


def test_a_node_executes_a_run_of_which_it_is_told_only_the_id(
    node: Node, home: Path, connection: psycopg.Connection[Any]
) -> None:
    code, run = node("end_holders", dg.DagsterRunStatus.STARTING)
    assert (code, run.status) == (0, dg.DagsterRunStatus.SUCCESS)
    assert (home / "worker" / "dagster.yaml").exists()
    assert json.dumps(configuration(home / "dagster")["storage"]).count("worker") == 0


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_a_worker_that_starts_after_its_run_was_given_up_does_nothing(
    node: Node, status: dg.DagsterRunStatus, connection: psycopg.Connection[Any]
) -> None:
    _, run = node("refresh_orders", status)
    assert run.status is status
    touched = connection.execute("SELECT count(*) FROM projections WHERE watermark IS NOT NULL").fetchone()
    assert touched == (0,)
