"""``make demo``: sample files through the real Dagster job, and what came of them."""

import logging
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from dagster._core.execution.plan.objects import StepFailureData
from rich.console import Console
from rich.table import Table

import eventstore
from eventstore.engine.status import status
from eventstore.kernel.counted import counted
from eventstore.log.connection import Connection
from eventstore.log.errors import EventStoreError
from eventstore.orders.domain import DOMAIN
from eventstore.orders.sample import write_sample
from eventstore.server import settings
from eventstore.server.errors import ServerError
from pipelines.assets import IngestConfig
from pipelines.definitions import build_defs
from pipelines.instance import prepare

_ORDERS = 3000
_NEXT = """\
  [bold]make up[/]                     the same in Dagster's web pages, schedules and landing sensor on
  [bold]. .venv/bin/activate[/]        then, for example:
  [bold]eventstore show {order_id}[/]
  [bold]eventstore rejects[/]          the lines that could not be appended, and why
  [bold]eventstore tail --limit 3[/]   the log as CloudEvents"""

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    started = time.monotonic()
    try:
        with console.status("Preparing the database …"):
            url = prepare()
        with console.status("Writing sample files …"):
            files = write_sample(settings.landing(), orders=_ORDERS)
        with console.status("Running the Dagster job ingest_and_refresh …"):
            result = _run_job(files)
        if not result.success:
            return _failed("\n".join(_errors(result)))
        with eventstore.connect(url) as store, store.connection() as connection:
            _report(result, connection)
            console.print(f"\nDone in {time.monotonic() - started:.0f} s. Now try:")
            console.print(_NEXT.format(order_id=_an_order(connection)))
    except (ServerError, EventStoreError, psycopg.Error) as error:
        return _failed(str(error).strip())
    return 0


def _run_job(files: list[Path]) -> dg.ExecuteInProcessResult:
    """In this process, recorded in the instance whose pages ``make up`` shows."""
    job = build_defs().resolve_job_def("ingest_and_refresh")
    logging.disable()  # what failed is reported at the end
    with dg.DagsterInstance.get() as instance:
        return job.execute_in_process(
            instance=instance,
            run_config=dg.RunConfig(
                ops={"order_events": IngestConfig(paths=[str(path) for path in files])},
            ),
            raise_on_error=False,
        )


def _errors(result: dg.ExecuteInProcessResult) -> list[str]:
    failures = [event for event in result.all_events if event.is_step_failure]
    return [f"{event.step_key}: {_reason(event.step_failure_data)}" for event in failures]


def _reason(failed: StepFailureData) -> str:
    """One line where it is an outage; of anything else all that Dagster knows."""
    said = failed.user_failure_data
    return (said and said.description) or failed.error_display_string


def _report(result: dg.ExecuteInProcessResult, connection: Connection) -> None:
    ingested = _metadata(result, "order_events")
    names = {
        "lines read": "read",
        "events appended": "events",
        "duplicates": "duplicates",
        "rejected": "rejected",
    }
    by_status = "SELECT status, count(*) FROM orders GROUP BY status ORDER BY count(*) DESC"
    now = status(connection, DOMAIN)
    orders = now.projections[DOMAIN.states.name]
    console.print(_table("Ingested", {name: ingested[key] for name, key in names.items()}))
    console.print(_table("Rejected lines by reason", now.rejects))
    console.print(_table("Orders by status", dict(connection.execute(by_status).fetchall())))
    console.print(f"[bold]Watermark[/]  {orders.watermark}")
    console.print(f"[bold]Lag[/]        {counted(orders.lag_events, 'event')}, {orders.lag_seconds:.1f} s")


def _metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    [materialization] = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in materialization.metadata.items()}


def _table(title: str, counts: dict[str, int]) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", show_header=False, box=None)
    table.add_column(min_width=22)
    table.add_column(justify="right", min_width=8)
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    return table


def _an_order(connection: Connection) -> str:
    """The order with the longest story."""
    row = connection.execute("SELECT order_id FROM orders ORDER BY version DESC, order_id LIMIT 1").fetchone()
    return str(row[0]) if row else "ORDER_ID"


def _failed(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
