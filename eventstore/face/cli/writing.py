"""append and show: one order at a time."""

from typing import Annotated

import msgspec
import typer

from eventstore.domain.payload import check
from eventstore.domain.recorded import to_ms
from eventstore.face.cli.app import Json, OrderId, app, fail, open_store
from eventstore.face.cli.output import print_fields, print_json
from eventstore.face.times import parse_time
from eventstore.log.append import append_json


@app.command()
def append(
    order_id: OrderId,
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="For example OrderPaid.")],
    data: Annotated[str, typer.Argument(metavar="JSON", help="The payload, a JSON object.")],
    expected_version: Annotated[
        int | None, typer.Option(min=0, help="Append only if the order is at this version; 0: a new order.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Business time; without it the database's clock.")] = None,
    as_json: Json = False,
) -> None:
    """Append one event to an order."""
    check(event_type, data.encode(errors="surrogateescape"))
    event = {
        "type": event_type,
        "data": msgspec.json.decode(data),
        "created_at": None if at is None else to_ms(parse_time(at)),
    }
    with open_store() as store, store.connection() as connection:
        (recorded,) = append_json(connection, order_id, [event], expected_version)
    result = {
        "order_id": recorded.order_id,
        "id": recorded.id,
        "version": recorded.version,
        "type": recorded.event_type,
        "happened_at": recorded.happened_at,
        "recorded_at": recorded.recorded_at,
    }
    print_json(result) if as_json else print_fields(result)


@app.command()
def show(order_id: OrderId, as_json: Json = False) -> None:
    """Show the state of an order now, exact to the last append."""
    with open_store() as store:
        state = store.current(order_id)
    if state is None:
        raise fail(f"order {order_id} has no events")
    print_json(state) if as_json else print_fields(msgspec.structs.asdict(state))
