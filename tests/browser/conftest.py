"""One ``make up`` for all tests here, in whose order things happen; skipped where there is no browser."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytest.importorskip("playwright", reason="needs the package playwright: `make browser` installs it")

from tests.browser import site as sites


@pytest.fixture(scope="session")
def site() -> Iterator[sites.Site]:
    if sites.chromium() is None:
        pytest.skip("needs Chromium: apt install chromium, or CHROMIUM=/usr/bin/google-chrome")
    # Not below pytest's folder: another pytest closes that to everybody else, be it the user of the embedded
    # PostgreSQL.
    with (
        tempfile.TemporaryDirectory(prefix="eventstore-browser-", ignore_cleanup_errors=True) as home,
        sites.site(Path(home)) as made,
    ):
        yield made


@pytest.fixture(scope="session")
def database(site: sites.Site) -> Iterator[psycopg.Connection[Any]]:
    url = f"postgresql://postgres@/eventstore?host={site.home / 'postgres'}"
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def no_page_complains(site: sites.Site, request: pytest.FixtureRequest) -> Iterator[None]:
    """No error in the console, no answer of the server that is one, no banner; a picture is kept of each."""
    site.problems.clear()
    yield
    pictures = Path(request.config.rootpath) / ".pytest_cache" / "browser"
    pictures.mkdir(parents=True, exist_ok=True)
    site.page.screenshot(path=pictures / f"{request.node.name}.png")
    assert site.problems == []
    assert site.banners() == []
