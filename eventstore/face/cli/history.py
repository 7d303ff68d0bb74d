"""history: what each event of an order changed, or what changed between two moments."""

from collections import deque
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer

from eventstore.engine.event_history import Difference, difference, history_of
from eventstore.engine.projection import Projection
from eventstore.face.cli.app import Json, OrderId, app, fail, how_old, open_store, say_how_old
from eventstore.face.cli.output import print_json
from eventstore.face.cli.timeline import print_difference, print_timeline
from eventstore.face.times import as_text, describe_time, parse_time
from eventstore.kernel.event_history import Change, HistoryEntry
from eventstore.kernel.moments import moment
from eventstore.log.connection import Connection


@app.command()
def history(
    order_id: OrderId,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="T1 T2", help="What changed between two moments of business time."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many, the last ones.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what had happened by then (business time).")
    ] = None,
    known: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what was known by then (recorded time).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show an order's events as they were recorded: what each changed, who sent it, what is late or odd.

    A time is ISO 8601 (without a zone: UTC), a date (its start) or words such as "2 days ago".
    """
    at_time, known_time = (None if text is None else parse_time(text) for text in (at, known))
    if diff and not (limit is None and at is None and known is None):
        raise fail("--diff shows two moments: it goes without --limit, --at and --known")
    entries, is_there = deque[HistoryEntry](maxlen=limit), False
    with open_store() as store:
        replica = how_old(store)
        with store.reading() as connection:
            if diff:
                _diff(connection, store.domain.states, order_id, diff, as_json)
            for entry in () if diff else history_of(connection, store.domain.states, order_id):
                is_there = True
                if known_time is not None and entry.event.recorded_at > known_time:
                    break  # they come in the order of their recording
                if at_time is None or entry.event.happened_at <= at_time:
                    entries.append(entry)
        say_how_old(replica)
    if diff:
        return
    if not entries:
        raise fail(f"order {order_id} has no events{' within these limits' if is_there else ''}")
    if as_json:
        print_json({"order_id": order_id, "events": list(map(_as_json, entries))})
    else:
        print_timeline(list(entries))


def _diff(
    connection: Connection, states: Projection[Any], order_id: UUID, texts: tuple[str, str], as_json: bool
) -> None:
    first, second = map(parse_time, texts)
    if second < first:
        raise fail(f"--diff: the first moment, {moment(first)}, is later than the second, {moment(second)}")
    found = difference(connection, states, order_id, first, second)
    if found is None:
        raise fail(f"order {order_id} has no events")
    if as_json:
        moments = {"from": as_text(first), "to": as_text(second)}
        print_json({"order_id": order_id} | moments | _diff_as_json(found))
    else:
        print_difference(found, *map(describe_time, (first, second), texts))


def _as_json(entry: HistoryEntry) -> dict[str, Any]:
    event = entry.event
    return {
        "version": event.version,
        "id": event.id,
        "type": event.event_type,
        "happened_at": as_text(event.happened_at),
        "recorded_at": as_text(event.recorded_at),
        "changes": _changes_as_json(entry.changes),
        "late": entry.late_by is not None,
        "late_by_seconds": entry.late_by and entry.late_by.total_seconds(),
        "anomalies": entry.anomalies,
        "resolved": entry.resolved,
        "error": entry.error,
        "source": event.source,
        "source_id": event.source_id,
        "actor": event.metadata.get("actor"),
        "metadata": event.metadata,
        "data": event.undecodable.raw if event.undecodable else msgspec.Raw(event.payload),
    }


def _diff_as_json(found: Difference) -> dict[str, Any]:
    return {
        "changes": _changes_as_json(found.changes),
        "events": [
            {"version": event.version, "type": event.event_type, "happened_at": as_text(event.happened_at)}
            for event in found.events
        ],
    }


def _changes_as_json(changes: dict[str, Change]) -> dict[str, dict[str, Any]]:
    return {field: {"from": change.before, "to": change.after} for field, change in changes.items()}
