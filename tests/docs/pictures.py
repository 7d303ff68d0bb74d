"""``make pictures``: the pictures of the README, of a real Dagster and a real terminal, into ``docs/images``.

Wants Chromium, where it is (CHROMIUM) or on the PATH, and the package playwright.
"""

import io
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import dagster as dg
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import eventstore
from eventstore import (
    Fact,
    OrderAmountCorrected,
    OrderCreated,
    OrderDelivered,
    OrderPaid,
    OrderRefunded,
    OrderShipped,
)
from eventstore.server import embedded
from pipelines.definitions import build_defs
from pipelines.instance import prepare
from tests.docs.snippets import ROOT

_IMAGES = ROOT / "docs" / "images"
_ORDER = UUID("0198c2f4-7d5e-7000-8000-3c9b1e5d2a10")
_COLUMNS = 140
#: Of the browser's window. At this width the groups are drawn with the names of their assets only.
_WIDTH, _HEIGHT = 1200, 860
_LEFT, _TOP = 369, 110  #: of the graph in it
_BROWSER = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_LONGEST_S = 180


def main() -> None:
    _IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="eventstore-pictures-") as folder:
        os.environ["EVENTSTORE_HOME"] = folder
        os.environ.pop("DATABASE_URL", None)
        try:
            _make_data()
            _terminal(["eventstore", "history", str(_ORDER)], _IMAGES / "history.svg")
            with _dagster() as url, _browser() as page:
                _lineage(page, url, _IMAGES / "lineage.png")
        finally:
            embedded.stop(Path(folder))


def _make_data() -> None:
    """The demo's orders, one with a story, and every asset once."""
    subprocess.run([sys.executable, "-m", "pipelines.demo"], cwd=ROOT, check=True)
    with eventstore.connect() as store:
        for fact in _story():
            store.append(_ORDER, fact)
    prepare()
    job = build_defs().resolve_implicit_global_asset_job_def()
    buckets = {"dagster/asset_partition_range_start": "00", "dagster/asset_partition_range_end": "15"}
    with dg.DagsterInstance.get() as instance:
        for asset in job.asset_layer.executable_asset_keys:
            if (name := asset.to_user_string()) != "order_snapshots":
                tags = buckets if name.endswith("_replay") else {}
                job.execute_in_process(instance=instance, asset_selection=[asset], tags=tags)


def _story() -> Iterator[Fact]:
    def day(number: int, hour: int) -> datetime:
        return datetime(2026, 3, number, hour, tzinfo=UTC)

    customer, ordered, agreed = UUID("0198c2f4-0000-7000-8000-00000000c001"), Decimal(129), Decimal(119)
    created = OrderCreated(customer_id=customer, amount=ordered, currency="EUR")
    corrected = OrderAmountCorrected(amount=agreed, currency="EUR", reason="voucher")
    refunded = OrderRefunded(amount=Decimal(19), currency="EUR", reason="scratched")
    yield Fact(created, day(1, 9), "/shop", "17/created")
    yield Fact(OrderShipped(carrier="DHL"), day(3, 16), "/warehouse", "parcel-4711")
    yield Fact(OrderPaid(amount=agreed, currency="EUR"), day(2, 11), "/bank", "tx-90210")
    yield Fact(OrderDelivered(), day(5, 10), "/warehouse", "parcel-4711/done")
    yield Fact(corrected, day(1, 9), metadata={"actor": "ann"})
    yield Fact(refunded, day(8, 14), metadata={"actor": "ben"})


def _terminal(command: list[str], path: Path) -> None:
    """Run a command in a terminal and draw what that shows."""
    reader, writer = pty.openpty()
    environment = os.environ | {"COLUMNS": str(_COLUMNS), "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdout=writer, stderr=writer, env=environment) as process:
        os.close(writer)
        output = b""
        with suppress(OSError):  # that is how a terminal ends
            while block := os.read(reader, 65536):
                output += block
    os.close(reader)
    assert process.returncode == 0, output.decode()
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {' '.join(command)}", style="bold"))
    console.print(Text.from_ansi(output.decode().replace("\r\n", "\n").rstrip()))
    svg = console.export_svg(title="eventstore", theme=MONOKAI, unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # a picture loads nothing
    path.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), encoding="utf-8")


@contextmanager
def _dagster() -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-m", "pipelines.up", "--port", str(port)], cwd=ROOT) as process:
        try:
            until = time.monotonic() + _LONGEST_S
            while not _answers(url):
                assert time.monotonic() < until, "Dagster does not start"
                time.sleep(0.5)
            yield url
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"{url}/server_info", timeout=5).close()
        return True
    return False


@contextmanager
def _browser() -> Iterator[Page]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_BROWSER)
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, device_scale_factor=1.5)
        page.set_default_timeout(_LONGEST_S * 1000)
        yield page
        browser.close()


def _lineage(page: Page, url: str, path: Path) -> None:
    page.goto(f"{url}/asset-groups")
    page.get_by_text("Hide navigation").click()
    page.get_by_text("Materialize all").wait_for()
    page.keyboard.press("Alt+e")  # expands the groups
    page.wait_for_url("**expanded=**")
    with page.expect_response(lambda response: "AssetGraphLiveQuery" in (response.request.post_data or "")):
        page.reload()  # fits them into the window
    page.get_by_text("customers").first.wait_for()
    page.wait_for_timeout(3_000)  # until it is drawn
    page.screenshot(
        path=path, clip={"x": _LEFT, "y": _TOP, "width": _WIDTH - _LEFT, "height": _HEIGHT - _TOP}
    )
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path, optimize=True)


if __name__ == "__main__":
    main()
