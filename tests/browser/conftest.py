"""One ``make up`` for all tests here, in whose order things happen; skipped where there is no browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytest.importorskip("playwright", reason="needs the package playwright: `make browser` installs it")

from tests.browser import site as sites


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sites.Site]:
    if sites.chromium() is None:
        pytest.skip("needs Chromium: apt install chromium, or CHROMIUM=/usr/bin/google-chrome")
    with sites.site(tmp_path_factory.mktemp("home")) as made:
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
