"""The benchmarks stay alive: all measures but `visible`, `followed` and `release` run, on next to nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_MEASURES = "append,size,ingest,replay,parallel,history,refresh,state,latency,growth,jobs,seals"


def test_every_measure_runs_and_the_report_has_a_row_for_each(server_url: str, tmp_path: Path) -> None:
    options = ["--events", "5000", "--rounds", "1", "--seconds", "0.2", "--clients", "4", "--only", _MEASURES]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *options, "--output", tmp_path],
        cwd=_ROOT,
        env={**os.environ, "DATABASE_URL": server_url},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "benchmarks.json").read_bytes())
    yardsticks = {word for row in report["rows"] for word in row["yardstick"].replace(",", " ").split()}
    assert {"INSERT", "COPY", "eventsourcing", "ProjectionRunner", "draining", "stream"} <= yardsticks
    assert all(value > 0 for row in report["rows"] for value in row["ours"] + row["theirs"])
    assert all(row["measure"] in (tmp_path / "benchmarks.md").read_text() for row in report["rows"])
    assert len(report["growth"]["replay, µs per event"]) == 3
    assert "<svg" in (tmp_path / "benchmarks.svg").read_text()


def test_results_replace_only_results_in_a_report_that_was_annotated(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from tests.benchmarks.report import Report, now, write  # noqa: PLC0415
    from tests.benchmarks.rows import Row  # noqa: PLC0415

    def report(measure: str) -> Report:
        row = Row(measure=measure, unit="s", ours=[1.0, 3.0, 2.0], theirs=[4.0, 4.0, 4.0], target=("<=", 0.4))
        return Report(finished_at=now(), minutes=1, parameters={}, circumstances={}, rows=[row], growth={})

    write(report("the first run"), tmp_path)
    markdown = tmp_path / "benchmarks.md"
    markdown.write_text(f"By hand, before.\n{markdown.read_text()}By hand, after.\n")
    write(report("the second run"), tmp_path)
    text = markdown.read_text()
    assert text.startswith("By hand, before.")
    assert text.endswith("By hand, after.\n")
    assert "the first run" not in text
    assert "| the second run | 2 (1–3) s |  | 4 (4–4) s | 0.5 (0.25–0.75) | <= 0.4 | **missed** |" in text
