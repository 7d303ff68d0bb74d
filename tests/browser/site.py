"""A ``make up`` of its own, and a browser that looks at it and notes what goes wrong in its pages."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Locator, Page, sync_playwright

from eventstore.server import embedded
from tests.graphql import ask

ROOT = Path(__file__).parents[2]
LOCATION = "pipelines.definitions"
LONGEST_S = 240
WIDTH, HEIGHT = 1400, 1000
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: What Dagster shows where something is broken, whatever the page.
_BANNERS = re.compile(
    "unexpected error|Unexpected GraphQL error|Something went wrong|not be found|Failed to load"
)


def chromium() -> str | None:
    """Where the browser is: CHROMIUM, else on the PATH."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@dataclass
class Site:
    """A running ``make up``, and a page of a browser."""

    url: str
    home: Path
    page: Page
    problems: list[str] = field(default_factory=list)  #: what the browser complained of

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.url}{path}")
        return self.page

    def asset(self, name: str, tab: str = "overview") -> Page:
        """The page of an asset, when it has been drawn."""
        page = self.open(f"/assets/{name}?view={tab}")
        page.get_by_text("Latest materialization" if tab == "overview" else name).first.wait_for()
        return page

    def text(self, until: str | None = None) -> str:
        """What one can read on the page, once ``until`` is there."""
        if until is not None:
            self.page.get_by_text(until).first.wait_for()
        return str(self.page.locator("body").inner_text())

    def banners(self) -> list[str]:
        return _BANNERS.findall(self.text())

    def ask(self, query: str, **variables: Any) -> Any:
        """Ask Dagster's GraphQL what the pages ask."""
        return ask(self.url, query, **variables)

    def run_status(self, run: str) -> str:
        asked = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        return str(self.ask(asked, id=run)["runOrError"]["status"])

    def drop(self, name: str, *lines: str) -> None:
        """Hand a file over as the README says."""
        part = self.home / f"{name}.part"
        part.write_text("".join(f"{line}\n" for line in lines))
        part.rename(self.home / "landing" / name)

    def log_of(self, run: str, says: str) -> str:
        """What one can read on the page of a run, its log searched for a word: else a part of it is drawn."""
        self.open(f"/runs/{run}?logs={quote(says)}")
        self.page.get_by_text(says).first.wait_for()
        return self.text()

    def runs(self, job: str) -> list[str]:
        """The ids of its runs, the newest first."""
        asked = (
            "query ($job: String!) { runsOrError(filter: {pipelineName: $job}, limit: 20) "
            "{ ... on Runs { results { runId } } } }"
        )
        return [run["runId"] for run in self.ask(asked, job=job)["runsOrError"]["results"]]

    def launch(self, job: str) -> str:
        """Launch a job as its page offers it; returns the id of the run, whose page is shown then."""
        before = set(self.runs(job))
        page = self.open(f"/locations/{LOCATION}/jobs/{job}")
        of_assets = button(page, "Materialize")  # or "Materialize all"
        launchpad = page.get_by_role("tab", name="Launchpad")
        of_assets.or_(launchpad).first.wait_for()
        if not of_assets.count():
            launchpad.click()
            of_assets = button(page, "Launch Run")
        press(of_assets)
        run: str = until(lambda: next((each for each in self.runs(job) if each not in before), None))
        self.open(f"/runs/{run}")
        page.get_by_text(run[:8]).first.wait_for()
        return run

    def backfill(self) -> str:
        """The id of the newest backfill."""
        found = self.ask(
            "{ partitionBackfillsOrError(limit: 1) { ... on PartitionBackfills { results { id } } } }"
        )
        return str(found["partitionBackfillsOrError"]["results"][0]["id"])

    def backfill_status(self, backfill: str) -> str:
        asked = (
            "query ($id: String!) { partitionBackfillOrError(backfillId: $id) "
            "{ ... on PartitionBackfill { status } } }"
        )
        return str(self.ask(asked, id=backfill)["partitionBackfillOrError"]["status"])

    def ended(self, run: str) -> str:
        """Its status once it has ended."""
        return str(until(lambda: (status := self.run_status(run)) in _ENDED and status))


_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


def button(page: Page, says: str | re.Pattern[str]) -> Locator:
    """By what one reads on it: an icon has a name too."""
    return page.get_by_role("button").filter(has_text=says)


def press(found: Locator) -> None:
    """Press a button, which is there and not disabled by then."""
    found.first.wait_for()
    until(found.first.is_enabled, 30)
    found.first.click()


def until(found: Callable[[], Any], seconds: float = LONGEST_S) -> Any:
    """What ``found`` returns once that is true."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.5)
    return answer


@contextmanager
def site(home: Path, **window: Any) -> Iterator[Site]:
    """``make up`` in that home folder, and a browser."""
    with _dagster(home) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)
        try:
            page = browser.new_page(**({"viewport": {"width": WIDTH, "height": HEIGHT}} | window))
            page.set_default_timeout(60_000)
            made = Site(url, home, page)
            _listen(page, made.problems)
            yield made
        finally:
            browser.close()


def _listen(page: Page, problems: list[str]) -> None:
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "response",
        lambda answer: problems.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None,
    )


@contextmanager
def _dagster(home: Path) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    ours = {"DATABASE_URL", "DAGSTER_HOME", "EVENTSTORE_DAGSTER_URL", "PORT"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"EVENTSTORE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    try:
        with (
            (home / "up.log").open("wb") as log,
            subprocess.Popen(
                [sys.executable, "-m", "pipelines.up", "--port", str(port)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            try:
                until(lambda: _answers(url))
                yield url
            finally:
                process.terminate()
    finally:
        embedded.stop(home)


def _answers(url: str) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"{url}/server_info", timeout=5).close()
        return True
    return False
