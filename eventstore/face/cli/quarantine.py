"""quarantine: the orders that the rules fail on."""

from typing import Annotated

import typer
from rich.text import Text

from eventstore.engine.domain import Domain
from eventstore.engine.quarantine import SetAside, read_quarantine
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.face.cli.app import Json, app, fail, open_store
from eventstore.face.cli.output import console, print_json
from eventstore.kernel.counted import counted
from eventstore.kernel.moments import moment
from eventstore.kernel.shown import printable, shown
from eventstore.orders.order import OrderState

_HEADINGS = ("ORDER", "VERSION", "TYPE", "SINCE", "TABLES", "ERROR")


@app.command()
def quarantine(
    table: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of one table.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show so many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List the orders that show only the events before one that the rules fail on: which, why, since when.

    Mend the rule: every refresh tries again. `eventstore history ORDER_ID` shows what the event says.
    """
    with open_store() as store, store.connection() as connection:
        tables = tables_with_quarantine(store.domain)
        if table is not None and table not in tables:
            raise fail(f"there is no table {shown(table)} with a quarantine; there are {', '.join(tables)}")
        found = read_quarantine(connection, [table] if table else tables, limit)
    if as_json:
        print_json(found)
        return
    if not found.orders:
        console.print("No order is in quarantine.")
    elif console.is_terminal:
        for each in found.first:
            _print_block(each)
        number = counted(found.orders, "order")
        console.print(f"{number} in quarantine. Mend the rule: the next refresh folds them again.")
    else:
        typer.echo("\t".join(_HEADINGS))
        for each in found.first:
            typer.echo("\t".join(_line(each)))


def tables_with_quarantine(domain: Domain[OrderState]) -> list[str]:
    """The live tables that set orders aside."""
    return [*(projection.name for projection in domain.projections), SNAPSHOTS]


def _line(each: SetAside) -> tuple[str, ...]:
    return (
        str(each.order_id),
        str(each.version or "-"),
        printable(each.event_type or "-"),
        moment(each.since),
        ", ".join(each.tables),
        printable(each.error),
    )


def _print_block(each: SetAside) -> None:
    where = (
        f"version {each.version}, {printable(each.event_type or '?')}" if each.version else "at some event"
    )
    console.print(Text(f"{each.order_id}  {where}", style="bold"))
    console.print(Text(f"   {_why(each)}", style="red"))
    console.print(Text(f"   since {moment(each.since)}, in {', '.join(each.tables)}", style="dim"))


def _why(each: SetAside) -> str:
    """The error, without what the line above says already."""
    return printable(each.error).removeprefix(f"version {each.version}, {each.event_type}: ")
