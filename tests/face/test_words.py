"""Words that people read: numbers agree with what they count; help has tasks, examples and no types."""

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer

from eventstore.face.cli import app, helping
from eventstore.kernel.counted import counted
from tests.face.conftest import Ran
from tests.parsing import parsed

ROOT = Path(__file__).parents[2]
#: A number in front of a noun in the plural: right for all numbers but one. Units (s, min) have no plural.
NOUN = re.compile(
    r"^ ?(or more )?(events|orders|rows|days|lines|files|customers|snapshots|rejects|checkpoints|runs|spans"
    r"|groups|keys|problems|schedules|backups|findings|sessions|consumers|hours|minutes|seconds|changes|times)\b"
)


def sources() -> Iterator[Path]:
    for package in ("eventstore", "pipelines"):
        yield from (ROOT / package).rglob("*.py")


def uncounted(source: str) -> Iterator[str]:
    """Texts that put any number, whatever it is, in front of a plural."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.JoinedStr):
            for value, text in zip(node.values, node.values[1:], strict=False):
                if (
                    isinstance(value, ast.FormattedValue)
                    and "f" not in ast.unparse(value.format_spec or ast.Constant(""))[1:]  # 1.0 minutes
                    and isinstance(text, ast.Constant)
                    and NOUN.match(str(text.value))
                    and isinstance(
                        value.value, ast.Name | ast.Attribute | ast.Call | ast.BinOp | ast.Subscript
                    )
                    and not re.match(r"_?[A-Z_]{2,}\b", ast.unparse(value.value))  # the same for all time
                ):
                    yield f"line {node.lineno}: {ast.unparse(node)}"


def test_numbers_agree_with_what_they_count() -> None:
    found = [f"{path.relative_to(ROOT)} {each}" for path in sources() for each in uncounted(path.read_text())]
    assert found == [], "use eventstore.kernel.counted:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("number", "or_more", "words"),
    [
        (0, False, "0 orders wait"),
        (1, False, "1 order waits"),
        (1, True, "1 or more orders wait"),
        (1200, False, "1,200 orders wait"),
    ],
)
def test_a_verb_agrees_too(number: int, or_more: bool, words: str) -> None:
    assert counted(number, "order waits", "orders wait", or_more=or_more) == words


def commands() -> dict[str, typer.core.TyperCommand]:
    found = typer.main.get_command(app)
    assert isinstance(found, typer.core.TyperGroup)
    return {name: command for name, command in found.commands.items() if not command.hidden}  # type: ignore[misc]


def test_every_command_stands_under_one_task() -> None:
    tasks = [name for names in helping.TASKS.values() for name in names]
    assert sorted(tasks) == sorted(commands())


@pytest.mark.parametrize("name", sorted(helping.EXAMPLES))
def test_the_options_of_every_example_are_there(name: str) -> None:
    known = {option for param in commands()[name].params for option in param.opts}
    for example in helping.EXAMPLES[name]:
        program, command, *words = shlex.split(example.split("||")[0])
        assert (program, command) == ("eventstore", name)
        assert {word for word in words if word.startswith("--")} <= known


def test_help_is_short_for_it_and_names_no_types(cli: Callable[..., Ran]) -> None:
    for name in commands():
        code, shown, _ = cli(name, "-h")
        assert code == 0
        assert f"Usage: eventstore {name}" in shown
        assert not re.search(r"<(bool|str|int|list|uuid|path)\b", shown, re.IGNORECASE)


def test_the_version_is_told(cli: Callable[..., Ran]) -> None:
    assert re.fullmatch(r"eventstore \d+\.\d+\.\d+\S*", cli("--version").out.strip())


def test_a_filter_that_matches_nothing_says_what_there_is(
    cli: Callable[..., Ran], connection: psycopg.Connection[Any]
) -> None:
    connection.execute('SELECT append_events(gen_random_uuid(), \'[{"type": "OrderShipped", "data": {}}]\')')
    assert cli("refresh").code == 0
    (status,) = connection.execute("SELECT status FROM orders").fetchone() or ("",)
    assert (
        cli("orders", "--status", "Lost").out
        == f'No such order: none has the status "Lost", there are {status}.\n'
    )
    assert 'none has the anomaly "odd"' in cli("orders", "--anomaly", "odd").out
    assert cli("orders", "--status", status, "--since", "2100-01-01").out == "No such order.\n"


def test_a_filter_of_rejects_that_matches_nothing_says_so(cli: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "bad.ndjson").write_text("no json\n")
    cli("ingest", tmp_path)
    assert 'No line that waits has the reason "odd".' in cli("rejects", "--reason", "odd").out
    assert 'No line that waits has the file "odd".' in cli("rejects", "--file", "odd").out
    assert cli("rejects", "retry", 4711).err == "error: there is no reject 4711: see `eventstore rejects`\n"
