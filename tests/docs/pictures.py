"""``make pictures``: the pictures of the README and of docs/, of a real Dagster and a real terminal.

Wants Chromium, where it is (CHROMIUM) or on the PATH, and the package playwright. Look at what it made.
"""

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import dagster as dg
from PIL import Image
from playwright.sync_api import FloatRect, Page
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
from tests.browser.site import LOCATION, Site, button, press, site, until
from tests.docs.snippets import ROOT

_IMAGES = ROOT / "docs" / "images"
_ORDER = UUID("0198c2f4-7d5e-7000-8000-3c9b1e5d2a10")
_COLUMNS = 140
#: Of the browser's window. At this width the groups are drawn with the names of their assets only.
_WINDOW = {"width": 1200, "height": 860}
_LEFT, _TOP = 369, 110  #: of the graph in it
_NAVIGATION = 240  #: how wide it is


def main() -> None:
    _IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="eventstore-pictures-") as folder:
        os.environ["EVENTSTORE_HOME"] = folder
        os.environ.pop("DATABASE_URL", None)
        try:
            _make_data()
            _terminal(["eventstore", "history", str(_ORDER)], _IMAGES / "history.svg")
            with site(Path(folder), viewport=_WINDOW, device_scale_factor=1.5) as dagster:
                _columns(dagster, _IMAGES / "columns.png")
                _replay(dagster)
                _lineage(dagster.page, dagster.url, _IMAGES / "lineage.png")
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
    _picture(page, path, _LEFT, _TOP)


def _columns(dagster: Site, path: Path) -> None:
    """What the page of an asset says of its columns."""
    page = dagster.asset("orders")
    page.get_by_text("Column name").wait_for()
    _whole(page, path)


def _replay(dagster: Site) -> None:
    """The way to a replay by the job, and by the page of the group with all partitions selected."""
    page = dagster.open(f"/locations/{LOCATION}/jobs/replay/playground")
    button(page, "Launch Run").wait_for()
    _whole(page, _IMAGES / "replay-job.png")
    page = dagster.open(f"/locations/{LOCATION}/asset-groups/orders/lineage")
    press(button(page, "Materialize all"))
    page.get_by_text("0 partitions").wait_for()
    page.get_by_text("All", exact=True).first.click()
    page.get_by_text("16 partitions").first.wait_for()
    _whole(page, _IMAGES / "replay-group.png")
    page.keyboard.press("Escape")
    assert dagster.ended(dagster.launch("replay")) == "SUCCESS"
    backfill = dagster.backfill()
    until(lambda: dagster.backfill_status(backfill) == "COMPLETED_SUCCESS")
    page = dagster.open(f"/runs/b/{backfill}")
    page.get_by_text("orders_replay").first.wait_for()
    _whole(page, _IMAGES / "replay-backfill.png", height=500)


def _whole(page: Page, path: Path, height: int = _WINDOW["height"]) -> None:
    """The window without the navigation at its left, and what is empty below."""
    page.wait_for_timeout(2_000)  # until it is drawn
    _picture(page, path, _NAVIGATION, 0, height)


def _picture(page: Page, path: Path, left: int, top: int, bottom: int = _WINDOW["height"]) -> None:
    """The window without what is at its left, above and below."""
    clip: FloatRect = {"x": left, "y": top, "width": _WINDOW["width"] - left, "height": bottom - top}
    page.screenshot(path=path, clip=clip)
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path, optimize=True)


if __name__ == "__main__":
    main()
