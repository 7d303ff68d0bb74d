"""What a page shows works: its blocks are run in order, on a fresh database, and do what the page says."""

import json
import tomllib
from pathlib import Path

import pytest

from tests.docs.session import Session
from tests.docs.snippets import PAGES, ROOT, Snippet, snippets

_RUN = ("sh", "python", "sql", "diff")
#: Whose blocks heal what a test of its own breaks first: tests/face/test_runbook.py.
_RUNBOOK = ROOT / "docs" / "runbook.md"


def _pages() -> list[str]:
    """Those with something to run."""
    return [
        str(page.relative_to(ROOT))
        for page in PAGES
        if page != _RUNBOOK
        and any(each.language in _RUN and not each.not_run for each in snippets(page.read_text("utf-8")))
    ]


@pytest.mark.parametrize("name", _pages())
def test_the_blocks_of_a_page_run_in_order_and_print_what_it_shows(
    name: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(tmp_path, database_url)
    for variable in ("DATABASE_URL", "EVENTSTORE_HOME"):
        monkeypatch.setenv(variable, session.environment[variable])
    for snippet in snippets((ROOT / name).read_text("utf-8")):
        if snippet.language not in _RUN or snippet.not_run:
            continue
        try:
            output = session.run(snippet)
        except Exception as error:
            raise AssertionError(f"{name}:{snippet.line}: {error}") from error
        if snippet.output is not None:
            assert snippet.shows(output), f"{name}:{snippet.line} shows\n{snippet.output}\nfound\n{output}"


def test_every_block_says_its_language_and_what_is_not_run_says_why() -> None:
    shown = {"json": json.loads, "toml": tomllib.loads}
    for page in PAGES:
        for snippet in snippets(page.read_text("utf-8")):
            where = f"{page.name}:{snippet.line}"
            if snippet.not_run:
                assert snippet.language, where
                assert len(snippet.not_run.split()) > 2, where
            elif snippet.language in shown:
                assert shown[snippet.language](snippet.code), where
            else:
                assert snippet.language in _RUN, where


def _block(code: str = "", **options: object) -> Snippet:
    return Snippet("sh", code, 1, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shown", "found", "same"),
    [
        ("a  b\nc", "a b\n\nc\n", True),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a …", "a", True),
        ("a … d", "a d", True),
        ("a\n…", "b", False),
        ("a", "a b", False),
        ("12 orders", "13 orders", False),
    ],
)
def test_an_ellipsis_stands_for_anything_and_all_else_for_itself(shown: str, found: str, same: bool) -> None:
    assert _block(output=shown).shows(found) is same


def test_any_numbers_are_any_numbers_and_nothing_else() -> None:
    block = _block(output="read 11,235\nseconds 0.5", any_numbers=True)
    assert block.shows("read 7\nseconds 1,000.25")
    assert not block.shows("read none\nseconds 1")


def test_blocks_in_comments_are_found_and_marks_hold_for_the_next_block_only() -> None:
    page = """
<!-- not run: it never ends -->
```sh
a
```

<!--
```sh
hidden
```
-->

```sh
b
```
prints
```text
c
```

<!-- fails -->

```sh
d
```
"""
    found = [(each.code.strip(), each.not_run, each.fails, each.output) for each in snippets(page)]
    assert found == [
        ("a", "it never ends", False, None),
        ("hidden", None, False, None),
        ("b", None, False, "c\n"),
        ("d", None, True, None),
    ]
