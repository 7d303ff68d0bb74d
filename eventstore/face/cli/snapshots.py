"""snapshots: the states at the end of business days."""

from datetime import date
from typing import Annotated

import typer

from eventstore.engine.snapshots.build import build_snapshots
from eventstore.face.cli.app import Json, app, fail, open_store
from eventstore.face.cli.output import print_fields, print_json
from eventstore.face.cli.progress import event_progress
from eventstore.kernel.shown import shown

snapshots_app = typer.Typer(help="The state of each order at the end of each business day (UTC).")
app.add_typer(snapshots_app, name="snapshots")


@snapshots_app.callback()
def snapshots() -> None:
    """The state of each order at the end of each business day (UTC)."""


@snapshots_app.command()
def build(
    first: Annotated[str, typer.Argument(metavar="FROM", help="The first day, such as 2026-03-01.")],
    last: Annotated[str, typer.Argument(metavar="TO", help="The last day, included.")],
    as_json: Json = False,
) -> None:
    """Build, or build again, the snapshots of the days from the first to the last, in one step."""
    first_day, last_day = _day(first), _day(last)
    if last_day < first_day:
        raise fail(f"the last day, {last_day}, lies before the first, {first_day}")
    with (
        open_store() as store,
        store.connection() as connection,
        event_progress("folding", None, quiet=as_json, transient=True, unit="order") as advance,
    ):
        done = build_snapshots(connection, store.domain.states, first_day, last_day, advance)
    if as_json:
        print_json(done)
        return
    print_fields(
        {
            "days": len(done.days),
            "snapshots": done.rows,
            "days_without_any": sum(not number for number in done.days.values()) or None,
            "late_orders_folded_again": done.refreshed.orders,
            "watermark": done.watermark,
        }
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise fail(f"{shown(text)} is not a day: give it as 2026-03-01") from None
