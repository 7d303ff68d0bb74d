"""Words that people read: numbers agree with what they count."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore.kernel.counted import counted

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
    for node in ast.walk(ast.parse(source)):
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
