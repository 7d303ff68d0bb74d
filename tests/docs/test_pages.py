"""The pages hang together: links lead somewhere, and the README is one that is read to its end."""

import re
from pathlib import Path

from markdown_it import MarkdownIt

from tests.docs.snippets import PAGES, ROOT

_LINK = re.compile(r"(?:href|src)=\"([^\"]+)\"")


def links(page: Path) -> set[str]:
    """What a page links to within the repository."""
    text = page.read_text(encoding="utf-8")
    inline = [child for token in MarkdownIt().enable("table").parse(text) for child in token.children or []]
    found = {str(token.attrs.get("href") or token.attrs.get("src")) for token in inline if token.attrs}
    return {link for link in found | set(_LINK.findall(text)) if "://" not in link}


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_to_a_file_or_a_heading_that_there_is() -> None:
    for page in PAGES:
        for link in links(page):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), f"{page.relative_to(ROOT)} links to {link}"
            assert not anchor or anchor in anchors(target), f"{page.relative_to(ROOT)} links to {link}"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    assert set(PAGES) - linked == {ROOT / "README.md"}


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
