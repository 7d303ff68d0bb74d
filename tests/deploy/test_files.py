"""The files of docs/deploy: no cluster is needed to see that they say what can be."""

import importlib
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from eventstore.server.settings import VARIABLES

ROOT = Path(__file__).parents[2]
_WITHOUT = "needs the schemas of Kubernetes: pip install kubernetes-validate, as make test-cluster does"
DEPLOY = ROOT / "docs" / "deploy"
VALUES: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNITS = sorted(DEPLOY.glob("ray/*.service"))


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / "eventstore.yaml").read_text()))


def every_value(found: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(found, dict):
        for key, value in found.items():
            yield from every_value(value, f"{path}.{key}")
    elif isinstance(found, list):
        for value in found:
            yield from every_value(value, path)
    else:
        yield path, found


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dagster's chart, unpacked: DAGSTER_CHART names it, or helm fetches the version of pyproject.toml."""
    if said := os.environ.get("DAGSTER_CHART"):
        return Path(said)
    if shutil.which("helm") is None:
        pytest.skip("needs Dagster's chart: set DAGSTER_CHART to its folder, or install helm")
    folder = tmp_path_factory.mktemp("chart")
    where = ["--repo", "https://dagster-io.github.io/helm", "--version", version_of("dagster")]
    command = ["helm", "pull", "dagster", *where, "--untar", "--untardir", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (subprocess.SubprocessError, OSError):
        pytest.skip("Dagster's chart cannot be fetched from here: set DAGSTER_CHART to its folder")
    return folder / "dagster"


def version_of(package: str) -> str:
    [found] = [each for each in PROJECT["dependencies"] if each.startswith(f"{package}==")]
    return str(found.partition("==")[2])


def test_the_values_are_of_the_schema_of_the_chart(chart: Path) -> None:
    pytest.importorskip("kubernetes_validate", reason=_WITHOUT)
    defaults = yaml.safe_load((chart / "values.yaml").read_text())
    schema = json.loads((chart / "values.schema.json").read_text())
    registry = Registry(retrieve=kubernetes_definitions)  # type: ignore[call-arg, unused-ignore]
    validator = jsonschema.validators.validator_for(schema)(schema, registry=registry)
    wrong = [
        f"{each.json_path}: {each.message[:300]}" for each in validator.iter_errors(merged(defaults, VALUES))
    ]
    assert wrong == []


def kubernetes_definitions(uri: str) -> Resource[Any]:
    """What the schema refers to on the web is in a package."""
    assert uri.endswith("_definitions.json")
    schemas = importlib.import_module("kubernetes_validate").__file__
    assert schemas is not None
    folder = Path(schemas).parent / "kubernetes-json-schema" / "v1.34.0-local"
    text = (folder / "_definitions.json").read_text().replace("$defs", "definitions")
    return Resource.from_contents(json.loads(text), DRAFT7)


def merged(below: Any, above: Any) -> Any:
    """As helm does it."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {key: merged(below.get(key), above.get(key, below.get(key))) for key in {**below, **above}}
    return above


@pytest.mark.parametrize("manifest", manifests(), ids=lambda manifest: manifest["kind"])
@pytest.mark.parametrize("version", ["1.29", "1.34"])
def test_each_manifest_is_what_kubernetes_takes(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason=_WITHOUT)
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_run_can_be_given_up_and_never_begun_again_by_kubernetes() -> None:
    """Dagster retries a run in a run of its own; a pod that comes too late finds its run ended."""
    daemon = VALUES["dagsterDaemon"]
    assert daemon["runMonitoring"]["enabled"]
    assert daemon["runMonitoring"]["maxResumeRunAttempts"] == 0
    assert daemon["runRetries"]["enabled"]


def test_the_database_is_not_the_one_of_the_chart() -> None:
    assert VALUES["postgresql"]["enabled"] is False
    assert VALUES["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"


def test_the_code_location_is_there_and_its_variables_are_known() -> None:
    [deployment] = VALUES["dagster-user-deployments"]["deployments"]
    module = deployment["dagsterApiGrpcArgs"][deployment["dagsterApiGrpcArgs"].index("-m") + 1]
    assert importlib.util.find_spec(module) is not None
    names = {each["name"] for each in deployment["env"]}
    names |= {each["name"] for each in container(manifests()[1])["env"]}
    assert names <= set(VARIABLES)
    assert deployment["includeConfigInLaunchedRuns"]["enabled"]


def container(job: dict[str, Any]) -> dict[str, Any]:
    [found] = job["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_every_pod_of_ours_has_probes_or_ends_and_has_resources_and_is_not_root() -> None:
    [deployment] = VALUES["dagster-user-deployments"]["deployments"]
    assert deployment["readinessProbe"]["enabled"]
    assert deployment["startupProbe"]["enabled"]
    job = manifests()[1]
    for pod, security in (
        (deployment, deployment["podSecurityContext"]),
        (container(job), job["spec"]["template"]["spec"]["securityContext"]),
        (
            VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]["containerConfig"],
            deployment["podSecurityContext"],
        ),
    ):
        assert {"cpu", "memory"} <= set(pod["resources"]["requests"])
        assert "memory" in pod["resources"]["limits"]
        assert security["runAsNonRoot"]
        assert security["runAsUser"] == 10001


def test_no_file_holds_a_secret() -> None:
    for file in DEPLOY.rglob("*"):
        if file.is_file():
            assert not re.search(r"://[^/\s:@]+:[^@\s]+@", file.read_text()), file
    for path, value in [*every_value(VALUES), *((p, v) for m in manifests() for p, v in every_value(m))]:
        if "password" in path.lower() and isinstance(value, str):
            pytest.fail(f"{path} holds {value!r}")


def test_the_image_is_no_root_and_takes_only_what_it_is_made_of() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    copied = {each for words in copies for each in words}
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {f"!{each}" for each in copied} <= set(ignored)
    assert all((ROOT / each).exists() for each in copied)


def test_the_constraints_hold_the_versions_that_the_package_wants() -> None:
    lines = (DEPLOY / "constraints.txt").read_text().splitlines()
    held = dict(line.split("==") for line in lines if not line.startswith("#"))
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["ray"], *extras["k8s"]]
    for each in wanted:
        name = re.split(r"[\[<>=]", each)[0]
        assert name in held
        if "==" in each:
            assert held[name] == each.partition("==")[2]


def options(text: str) -> set[str]:
    return set(re.findall(r"--[a-z-]+(?:=\d[\d.]*)?", text.replace("\\\n", " ")))


def test_units_and_compose_start_the_same_processes_on_the_same_ports() -> None:
    services = yaml.safe_load((DEPLOY / "ray" / "compose.yaml").read_text())["services"]
    for kind in ("head", "node"):
        unit = (DEPLOY / "ray" / f"eventstore-ray-{kind}.service").read_text()
        started = unit.partition("ExecStart=")[2].partition("Restart=")[0]
        assert options(started) == options(services[kind]["command"])
        assert "--block" in started
        assert "--disable-usage-stats" in started
        assert "Restart=always" in unit
        assert services[kind]["restart"] == "always"


def test_a_node_wants_a_token_and_its_variables_are_known() -> None:
    lines = (DEPLOY / "ray" / "node.env.example").read_text().splitlines()
    said = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert said["RAY_AUTH_MODE"] == "token"
    assert said["RAY_USAGE_STATS_ENABLED"] == "0"
    assert {name for name in said if not name.startswith("RAY_")} <= set(VARIABLES)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    text = (
        unit.read_text()
        .replace("/opt/eventstore/bin/ray", "/bin/true")
        .replace("User=eventstore", "User=root")
    )
    (tmp_path / unit.name).write_text(text)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    ours = [line for line in found.stderr.splitlines() if unit.name in line]
    assert (found.returncode, ours) == (0, [])
