"""What a person sees and clicks, from an empty store to a promoted replay. The tests follow one another."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from pipelines.definitions import build_defs
from tests.browser.site import Site, button, press, until

pytestmark = [pytest.mark.dagster, pytest.mark.xdist_group("browser")]

SPECS = {spec.key.to_user_string(): spec for spec in build_defs().resolve_all_asset_specs()}
#: What nothing does by itself while there is neither a file nor a replay.
WAITING = ("order_events", "orders_replay", "order_history_replay", "order_snapshots")
Database = psycopg.Connection[Any]


def line(kind: str, order: UUID, **data: Any) -> str:
    if kind == "OrderCreated":
        data = {"customer_id": str(uuid4()), "amount": "10.00", "currency": "EUR"}
    at = datetime.now(UTC) - timedelta(days=2) + timedelta(seconds=len(data))
    event = {"specversion": "1.0", "id": str(uuid4()), "source": "/shop", "type": kind, "subject": str(order)}
    return json.dumps(event | {"time": at.isoformat(), "data": data})


def shows_what_it_is(site: Site, name: str) -> None:
    """Columns with types and words, the table, owners, kinds, links into the docs."""
    site.asset(name)
    text = site.text(until="Column name")
    metadata = SPECS[name].metadata
    for column in metadata["dagster/column_schema"].columns:
        assert column.name.lower() in text.lower(), (name, column.name)  # after a run in small letters
        assert column.type in text, (name, column.name)
        words = re.split(r"[`\n]", column.description)[0].strip()
        assert words, (name, column.name)
        assert words in text, (name, column.name)
    assert metadata["dagster/table_name"].partition("public.")[2] in text, name
    for owner in SPECS[name].owners:
        assert owner.removeprefix("team:") in text, name
    for kind in SPECS[name].kinds:
        assert kind in text.lower(), name
    assert "docs/" in text, name
    assert (SPECS[name].description or "").split("\n")[0].replace("`", "")[:60] in text, name


@pytest.mark.parametrize("name", sorted(SPECS))
def test_each_asset_says_what_it_is_before_anything_has_run(site: Site, name: str) -> None:
    shows_what_it_is(site, name)
    if name in WAITING:
        assert "Never materialized" in site.text(until="Never materialized")  # drawn later than the rest
    for tab in ("checks", "lineage"):
        site.asset(name, tab)
        assert not site.banners()


def test_the_lineage_shows_every_asset(site: Site) -> None:
    page = site.open("/asset-groups")
    page.get_by_text("Materialize all").wait_for()
    page.keyboard.press("Alt+e")
    page.wait_for_url("**expanded=**")
    for name in SPECS:
        page.get_by_text(re.compile(f"^{name[:8]}")).first.wait_for(state="attached")  # long ones are cut


def test_a_file_with_bad_lines_becomes_a_run_that_says_so_and_a_check_that_warns(
    site: Site, database: Database
) -> None:
    order = uuid4()
    good = [line("OrderCreated", order), line("OrderShipped", order, carrier="DHL")]
    site.drop("first.ndjson", *good, "not json", line("OrderTeleported", uuid4()))
    run = until(lambda: site.runs("ingest_and_refresh"))[0]
    assert site.ended(run) == "SUCCESS"
    assert database.execute("SELECT status FROM orders").fetchall() == [("Shipped",)]
    assert "2 rejected" in site.log_of(run, "rejected")
    site.asset("order_events", "checks")
    site.page.get_by_text("rejects", exact=True).first.click()
    assert "eventstore rejects retry" in site.text(until="2 lines wait")


def test_a_job_is_launched_from_its_page(site: Site) -> None:
    assert site.ended(site.launch("refresh_metrics")) == "SUCCESS"


@pytest.mark.parametrize("name", sorted({*SPECS} - {"orders_replay", "order_history_replay"}))
def test_each_asset_shows_rows_and_numbers_soon_after_the_first_events(site: Site, name: str) -> None:
    asked = (
        "query ($key: AssetKeyInput!) { assetOrError(assetKey: $key) "
        "{ ... on Asset { assetMaterializations(limit: 1) { runId } } } }"
    )
    until(
        lambda: site.ask(asked, key={"path": [name]})["assetOrError"].get("assetMaterializations"),
        seconds=700,  # seals come every five minutes
    )
    shows_what_it_is(site, name)
    site.page.get_by_text("seconds", exact=True).first.wait_for()  # among the metadata
    assert "Never materialized" not in site.text()


def test_the_first_snapshots_come_by_themselves(site: Site, database: Database) -> None:
    rows = database.execute("SELECT count(*) FROM order_snapshots").fetchone()
    assert rows == (1,)
    assert "Never materialized" not in site.asset("order_snapshots").locator("body").inner_text()


def test_the_job_replay_replays_every_bucket_and_promotes(site: Site, database: Database) -> None:
    database.execute("UPDATE orders SET status = 'Wrong'")
    run = site.launch("replay")
    assert site.ended(run) == "SUCCESS"
    assert "16 buckets of orders and order_history" in site.log_of(run, "Launched")
    backfill = site.backfill()
    site.open(f"/runs/b/{backfill}")
    site.page.get_by_text("orders_replay").first.wait_for()
    assert until(lambda: finished(site, backfill)) == "COMPLETED_SUCCESS"
    assert database.execute("SELECT status FROM orders").fetchall() == [("Shipped",)]
    site.asset("orders_replay")
    assert "Never materialized" not in site.text()


def test_a_backfill_from_the_page_of_the_group_ends_in_the_promotion(site: Site, database: Database) -> None:
    database.execute("UPDATE orders SET status = 'Wrong'")
    page = site.open("/locations/pipelines.definitions/asset-groups/orders/lineage")
    press(button(page, "Materialize all"))
    page.get_by_text("0 partitions").wait_for()  # the trap: nothing is selected
    page.get_by_text("All", exact=True).first.click()
    page.get_by_text("16 partitions").first.wait_for()
    before = site.backfill()
    press(button(page, "Launch backfill"))
    backfill = until(lambda: (now := site.backfill()) != before and now)
    assert until(lambda: finished(site, backfill)) == "COMPLETED_SUCCESS"
    site.open(f"/runs/b/{backfill}")
    site.page.get_by_text("orders_replay").first.wait_for()
    assert database.execute("SELECT status FROM orders").fetchall() == [("Shipped",)]


def finished(site: Site, backfill: str) -> str | None:
    status = site.backfill_status(backfill)
    return status if status not in {"REQUESTED", "COMPLETING", "CANCELING"} else None


def test_a_check_that_fails_says_what_to_do_and_a_promotion_by_hand_mends_it(
    site: Site, database: Database
) -> None:
    database.execute("UPDATE projections SET promotion = 'manual', fold_version = 'older'")
    assert site.ended(site.launch("refresh_orders")) == "SUCCESS"
    site.asset("orders", "checks")
    site.page.get_by_text("fold_version", exact=True).first.click()
    assert "replay" in site.text(until="Failed")
    assert site.ended(site.launch("replay")) == "SUCCESS"
    assert until(lambda: finished(site, site.backfill())) == "COMPLETED_SUCCESS"
    assert versions(database) == {"older"}
    site.asset("orders_replay", "checks")
    site.page.get_by_text("preview", exact=True).first.click()
    site.page.get_by_text("rules older -> ").first.wait_for()
    assert site.ended(site.launch("promote_orders")) == "SUCCESS"
    assert versions(database) == {str(SPECS["orders"].code_version)}


def versions(database: Database) -> set[str]:
    names = ["orders", "order_history"]
    found = database.execute("SELECT fold_version FROM projections WHERE name = ANY(%s)", (names,))
    return {version for (version,) in found}


def test_a_replay_that_was_cancelled_is_executed_again(site: Site, database: Database) -> None:
    with psycopg.connect(database.info.dsn) as blocker:
        blocker.execute("LOCK TABLE replay_buckets IN EXCLUSIVE MODE")
        page = site.open("/assets/orders_replay?view=partitions")
        press(button(page, "Materialize"))
        page.get_by_text("All", exact=True).first.click()
        before = site.runs("__ASSET_JOB")
        press(button(page, "Launch backfill"))
        run = until(lambda: next((run for run in site.runs("__ASSET_JOB") if run not in before), None))
        until(lambda: site.run_status(run) == "STARTED")
        page = site.open(f"/runs/{run}")
        press(button(page, "Terminate"))
        press(button(page, re.compile("Terminate 1 run|Terminate run")))
        until(lambda: site.run_status(run) in {"CANCELING", "CANCELED"})
        blocker.rollback()
    assert site.ended(run) == "CANCELED"
    site.open(f"/runs/{run}")
    before = site.runs("__ASSET_JOB")
    press(button(site.page, "Re-execute"))
    again = until(lambda: next((each for each in site.runs("__ASSET_JOB") if each not in before), None))
    assert site.ended(again) == "SUCCESS"
    assert "bucket " in site.log_of(again, "folded")
