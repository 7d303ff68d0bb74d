"""Which files of the landing folder wait to be ingested."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eventstore.ingestion.files import expand
from tests.shipped import FORMATS, files_waiting, ingest

Connection = psycopg.Connection[Any]


@pytest.fixture
def drop(tmp_path: Path) -> Callable[..., Path]:
    """Puts a file into the landing folder that was last written some seconds ago."""

    def put(name: str, content: bytes = b"nonsense", age: float = 60) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        at = time.time() - age
        os.utime(path, (at, at))
        return path

    return put


def test_complete_files_wait_in_the_order_of_their_names_until_they_are_ingested(
    connection: Connection, drop: Callable[..., Path], tmp_path: Path
) -> None:
    second, first = drop("b.jsonl.gz"), drop("a.ndjson")
    assert files_waiting(connection, tmp_path) == [first, second]
    ingest(connection, [first])
    assert files_waiting(connection, tmp_path) == [second]
    ingest(connection, [tmp_path])
    assert files_waiting(connection, tmp_path) == []


def test_a_file_that_came_again_with_other_content_waits_again(
    connection: Connection, drop: Callable[..., Path], tmp_path: Path
) -> None:
    path = drop("a.ndjson")
    ingest(connection, [path])
    drop("a.ndjson", b"nonsense\nmore of it")
    assert files_waiting(connection, tmp_path) == [path]
    ingest(connection, [path])
    drop("a.ndjson", b"nonsense\nmore of IT", age=30)  # as long as the last one, but later
    assert files_waiting(connection, tmp_path) == [path]


@pytest.mark.parametrize("name", [".a.ndjson", "a.ndjson.tmp", ".a.ndjson.tmp", "a.other", "a.gz", "ndjson"])
def test_files_under_other_names_do_not_wait(
    connection: Connection, drop: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    drop(name)
    assert files_waiting(connection, tmp_path) == []


def test_a_file_that_was_just_written_may_not_be_complete_but_a_clock_ahead_is_no_reason_to_wait_for_ever(
    connection: Connection, drop: Callable[..., Path], tmp_path: Path
) -> None:
    drop("a.ndjson", age=0)
    assert files_waiting(connection, tmp_path) == []
    written_tomorrow = drop("a.ndjson", age=-86_400)
    assert files_waiting(connection, tmp_path) == [written_tomorrow]


def test_a_landing_folder_that_is_not_there_yet_has_no_files(connection: Connection, tmp_path: Path) -> None:
    assert files_waiting(connection, tmp_path / "landing") == []


def test_relative_and_absolute_paths_name_the_same_file(
    connection: Connection, drop: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop("a.ndjson")
    monkeypatch.chdir(tmp_path)
    ingest(connection, [Path("a.ndjson")])
    assert files_waiting(connection, tmp_path) == []
    ingest(connection, [path])
    assert connection.execute("SELECT count(*) FROM rejects").fetchone() == (1,)


def test_names_that_are_no_utf8_do_no_harm(connection: Connection, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.ndjson"))
    try:
        path.write_bytes(b"nonsense")
    except OSError:
        pytest.skip("this file system has no such names")
    os.utime(path, (0, 0))
    assert files_waiting(connection, tmp_path) == []  # two such names can look the same in a table
    assert ingest(connection, [path]).rejected == 1
    assert ingest(connection, [tmp_path]).rejected == 1


def test_each_path_is_expanded_once(tmp_path: Path, drop: Callable[..., Path]) -> None:
    path = drop("a.ndjson")
    assert [found.path for found in expand([path, tmp_path, path], FORMATS).files] == [path]
