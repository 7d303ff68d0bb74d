"""What was released stays as it is: databases everywhere were made by it."""

import shutil
from pathlib import Path

import pytest

from eventstore.log.schema import migrate
from tests.log import releases


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
