"""A revision that is written by the template works as it is, and says what is wrong with its name."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from eventstore.log.schema import migrate
from eventstore.log.schema.new import new_revision
from eventstore.server.errors import ServerError


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    """A copy of the schema's folder, to be added to."""
    return Path(shutil.copytree(migrate.SCHEMA, tmp_path / "schema"))


def test_a_maintainer_writes_a_revision_and_the_next_init_runs_it(
    tmp_path: Path, new_database: Callable[..., str]
) -> None:
    url = new_database()
    before = migrate.revisions()
    source = Path(migrate.__file__).parents[2]
    shutil.copytree(source, tmp_path / "eventstore", ignore=shutil.ignore_patterns("__pycache__"))

    def python(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            check=True,
            text=True,
            capture_output=True,
        ).stdout

    written = python("-m", "eventstore.log.schema.new", "who carries the parcel")
    revision_file, statements = map(Path, written.splitlines())
    python("-c", f"from eventstore.log.schema import migrate; migrate.upgrade({url!r})")  # as it is
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", (before[-1],))
        with statements.open("a") as file:
            file.write("CREATE TABLE parcels (carrier text DEFAULT '100%%s');\n".replace("%%", "%"))
        python("-c", f"from eventstore.log.schema import migrate; migrate.upgrade({url!r})")
        assert connection.execute("INSERT INTO parcels DEFAULT VALUES RETURNING *").fetchone() == ("100%s",)
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
    assert revision not in before
    assert revision_file.name == f"{revision}_who_carries_the_parcel.py"
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(source.parent / "pyproject.toml")]
        subprocess.run([*ruff, str(revision_file)], check=True, capture_output=True)


def test_the_next_number_is_taken_and_a_team_may_take_an_id_of_its_own(schema: Path) -> None:
    highest = max(int(each) for each in migrate.revisions() if each.isdecimal())
    [first, _] = new_revision("one", schema)
    [team, _] = new_revision("theirs", schema, "theirs_1")
    [second, _] = new_revision("two", schema)
    assert first.name == f"{highest + 1:04}_one.py"
    assert team.name == "theirs_1_theirs.py"
    assert second.name == f"{highest + 2:04}_two.py"
    assert 'down_revision = "theirs_1"' in second.read_text()


def test_where_two_revisions_come_last_it_is_said_and_a_new_one_brings_them_together(
    schema: Path, new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, newest = new_database(), migrate.revisions()[-1]
    [ours, _] = new_revision("ours", schema, "upstream")
    theirs = schema / "versions" / "theirs_1_theirs.py"
    theirs.write_text(ours.read_text().replace("upstream", "theirs_1"))
    configuration = migrate.configuration
    monkeypatch.setattr(migrate, "configuration", lambda *_: configuration(schema))
    with pytest.raises(ServerError, match="theirs_1 and upstream both come last: `make revision"):
        migrate.upgrade(url)
    assert migrate.current(url) == newest
    [both] = new_revision("both", schema)
    assert 'down_revision = ("theirs_1", "upstream")' in both.read_text()
    assert migrate.revisions()[-1] == both.name.partition("_")[0]


@pytest.mark.parametrize("name", ["", " ", "-x", 'a"b', "a\nb", "a\\b", "$x", "a" * 61, "Übersicht"])
def test_a_name_that_could_break_the_file_is_refused(schema: Path, name: str) -> None:
    before = sorted(schema.rglob("*"))
    with pytest.raises(ValueError, match="cannot be its name"):
        new_revision(name, schema)
    assert sorted(schema.rglob("*")) == before


@pytest.mark.parametrize("revision", ["a b", "../x", "", "x" * 33, "head"])
def test_an_id_that_cannot_be_one_is_refused(schema: Path, revision: str) -> None:
    with pytest.raises(ValueError, match="cannot be its id"):
        new_revision("name", schema, revision)


def test_an_id_that_is_taken_is_refused(schema: Path) -> None:
    with pytest.raises(FileExistsError, match="already"):
        new_revision("name", schema, migrate.revisions()[0])
