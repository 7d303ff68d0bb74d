"""orders: find an order by a piece of its id, its customer, or what it is like."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import typer
from rich.text import Text

from eventstore.engine.standing import ahead_of_log, lag_of, watermark
from eventstore.face.cli.app import Json, app, fail, how_old, open_store, say_how_old
from eventstore.face.cli.output import console, print_json, warn
from eventstore.face.times import as_text, parse_time
from eventstore.kernel.counted import counted
from eventstore.kernel.shown import printable, shown
from eventstore.log.connection import Connection
from eventstore.orders.finding import FoundOrder, anomaly_names, find_orders, statuses

_HEADINGS = ("order", "status", "last event", "amount", "odd")


@app.command()
def orders(
    piece: Annotated[
        str | None,
        typer.Argument(metavar="PIECE", help="The beginning of an order id, or something within it."),
    ] = None,
    status: Annotated[str | None, typer.Option(help="Only those with this status, such as Shipped.")] = None,
    customer: Annotated[str | None, typer.Option(metavar="UUID", help="Only those of this customer.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only those with an event (business time) since then.")
    ] = None,
    anomaly: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only those with this anomaly, or with `any`; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show so many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Find orders, the one with the latest event first; as of the last refresh of the table `orders`."""
    given = set(anomaly or ())
    try:
        customer_id = None if customer is None else UUID(customer)
    except ValueError:
        raise fail(f"customer {shown(customer or '')} is not a UUID") from None
    since_time = None if since is None else parse_time(since)
    with open_store() as store, store.reading() as connection:
        replica = how_old(store)
        try:
            found = find_orders(
                connection,
                piece=piece,
                status=status,
                customer_id=customer_id,
                since=since_time,
                anomalies=sorted(given - {"any"}),
                odd="any" in given,
                limit=limit + 1,
            )
        except ValueError as error:
            raise fail(str(error)) from None
        lag = lag_of(connection, watermark(connection, store.domain.states.name))
        is_ahead = store.domain.states.name in ahead_of_log(connection)
        unknown = "" if found or as_json else _unknown(connection, status, sorted(given - {"any"}))
    say_how_old(replica)
    if is_ahead:
        warn(
            f"the table {store.domain.states.name} holds events that the log lacks, as after a restore: run "
            "`eventstore rebuild`"
        )
    more, found = len(found) > limit, found[:limit]
    if as_json:
        print_json({"orders": found, "more": more, "lag_events": lag.events})
        return
    if not found:
        console.print(f"No such order{unknown}.", soft_wrap=True, markup=False)
    elif console.is_terminal:
        _print_table(found)
    else:
        typer.echo("\t".join(_HEADINGS))
        for order in found:
            typer.echo("\t".join(_row(order, as_text(order.last_event_at))))
    if more and console.is_terminal:
        console.print(f"There are more than {limit:,}: narrow it, or give --limit.")
    if lag.events and console.is_terminal:
        or_more = " or more" if lag.or_more else ""
        console.print(
            f"{counted(lag.events, 'event')}{or_more} not in this table yet: `eventstore refresh`.",
            style="dim",
        )


def _unknown(connection: Connection, status: str | None, anomalies: Sequence[str]) -> str:
    """What no order has of that which was asked for, and what there is."""
    said = ""
    if status is not None and status not in (known := statuses(connection)):
        said += f": none has the status {shown(status)}, there are {', '.join(known) or 'no orders'}"
    if anomalies:
        known = anomaly_names(connection)
        there_are = ", ".join(known) or "no anomalies"
        for name in anomalies:
            if name not in known:
                said += f": none has the anomaly {shown(name)}, there are {there_are}"
    return said


def _row(order: FoundOrder, at: str) -> tuple[str, ...]:
    amount = "-" if order.amount is None else f"{order.amount:,} {order.currency or ''}".strip()
    return str(order.order_id), printable(order.status), at, amount, ", ".join(order.anomalies) or "-"


def _print_table(found: list[FoundOrder]) -> None:
    """A line each; what is odd stands below."""
    width = max(len(printable(order.status)) for order in found)
    for order in found:
        order_id, status, at, amount, _ = _row(order, f"{order.last_event_at:%Y-%m-%d}")
        console.print(Text(f"{order_id}  {status:{width}}  {at}  {amount}"), soft_wrap=True)
        if order.anomalies:
            console.print(Text(f"   {', '.join(order.anomalies)}", style="red"))
