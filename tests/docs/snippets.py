"""The snippets of a Markdown page: its fenced blocks in order, those hidden in comments too.

A comment right before a block says how to take it: ``<!-- not run: REASON -->``, ``<!-- fails -->`` where the
command is meant to fail, ``<!-- any numbers -->`` where the numbers of its output differ from day to day.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))


class Snippet(NamedTuple):
    language: str
    code: str
    line: int  #: of the page, where it begins
    not_run: str | None = None  #: why
    fails: bool = False
    any_numbers: bool = False
    output: str | None = None  #: what the page shows of it

    def shows(self, found: str) -> bool:
        """Whether ``found`` is the output on the page: ``…`` stands for anything, blanks for line ends."""
        parts = [" ".join(part.split()) for part in (self.output or "").split("…")]
        pattern = r"\s?(?:\S.*)?".join(map(self._pattern, parts))
        return re.fullmatch(pattern, " ".join(found.split()), re.DOTALL) is not None

    def _pattern(self, text: str) -> str:
        pattern = re.escape(text)
        return re.sub(r"\d(?:[\d,]|\\\.)*", r"[\\d,.]+", pattern) if self.any_numbers else pattern


def snippets(page: str) -> list[Snippet]:
    """The blocks of a page; a ``text`` block is the output of the block before it in the same section."""
    found: list[Snippet] = []
    lines = page.splitlines()
    for language, code, comment, line in _blocks(page, 1):
        reason = re.search(r"not run: (.+)", comment, re.DOTALL)
        if language == "text":
            if found and found[-1].output is None and "\n#" not in "\n".join(lines[found[-1].line : line]):
                found[-1] = found[-1]._replace(output=code)
        else:
            found.append(
                Snippet(
                    language,
                    code,
                    line,
                    not_run=reason and reason[1].strip(),
                    fails=comment == "fails",
                    any_numbers=comment == "any numbers",
                )
            )
    return found


def _blocks(page: str, first_line: int) -> Iterator[tuple[str, str, str, int]]:
    """Of each block its language, its code, what the comment before it says, and its line."""
    comment = ""
    for token in MarkdownIt().parse(page):
        line = first_line + (token.map[0] if token.map else 0)
        if token.type == "fence":
            yield token.info.strip(), token.content, comment, line + 1
        inside = re.fullmatch(r"<!--(.*)-->\s*", token.content, re.DOTALL)
        comment = inside[1].strip() if token.type == "html_block" and inside else ""
        if "```" in comment:
            yield from _blocks(comment, line)
            comment = ""
