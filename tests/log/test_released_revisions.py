"""What was released stays as it is: databases everywhere were made by it."""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eventstore.log.schema import migrate
from tests.log import releases
from tests.log.schema_objects import objects


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    """A copy of the schema's folder, to be changed."""
    return Path(shutil.copytree(migrate.SCHEMA, tmp_path / "schema"))


def test_released_revisions_are_as_they_were_released() -> None:
    assert releases.changed() == [], "write another revision instead: make revision"


def test_released_revisions_import_nothing_that_may_change() -> None:
    assert releases.living_imports() == []


def test_what_is_released_comes_before_what_is_not() -> None:
    revisions = migrate.revisions()
    assert revisions[: len(releases.released())] == releases.released()


def test_what_a_release_records_are_the_digests_and_functions_that_a_database_gets(
    tmp_path: Path, new_database: Callable[..., str], connection: psycopg.Connection[Any]
) -> None:
    releases.record(tmp_path)
    sums = dict(line.split("  ")[::-1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines())
    assert {file.relative_to(migrate.SCHEMA).as_posix() for file in migrate.SCHEMA.glob("sql/*/*")} < set(
        sums
    )
    for file, digest in sums.items():
        assert sha256((migrate.SCHEMA / file).read_bytes()).hexdigest() == digest
    newest = migrate.revisions()[-1]
    url = new_database(migrated=False)
    migrate.upgrade(url, newest)
    with psycopg.connect(url) as released:
        assert releases.give_functions(released, newest, tmp_path)
        assert objects(released) == objects(connection)


def test_a_changed_file_is_noticed(schema: Path) -> None:
    for file in (
        *schema.glob("versions/0001_*.py"),
        schema / "sql" / "0001" / "roles.sql",
        schema / "frozen.py",
    ):
        original = file.read_bytes()
        file.write_bytes(original + b"\n")
        [said] = releases.changed(schema)
        assert said == f"{file.relative_to(schema).as_posix()} is released and was changed"
        file.write_bytes(original)
    assert releases.changed(schema) == []


def test_a_file_that_is_gone_or_was_added_is_noticed(schema: Path) -> None:
    (schema / "sql" / "0001" / "roles.sql").rename(schema / "sql" / "0001" / "rights.sql")
    assert releases.changed(schema) == [
        "sql/0001/roles.sql is released and is gone",
        "sql/0001/rights.sql was added to a released revision",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "from eventstore.log.schema.steps import run_sql",
        "from eventstore.log.schema import steps",
        "import eventstore.log.schema.steps",
        "from ..steps import run_sql",
    ],
)
def test_an_import_of_what_lives_is_noticed(schema: Path, line: str) -> None:
    [file] = schema.glob("versions/0001_*.py")
    file.write_text(f"{line}\n" + file.read_text())
    assert len(releases.living_imports(schema)) == 1
