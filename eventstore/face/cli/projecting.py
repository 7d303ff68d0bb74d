"""refresh, replay, promote, rollback: from the log to the read models."""

from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from eventstore.engine.candidate import candidate
from eventstore.engine.derived import refresh_derived
from eventstore.engine.preview import SAMPLE, Difference, Preview
from eventstore.engine.preview import preview as preview_promotion
from eventstore.engine.projection import BUCKETS, Projection
from eventstore.engine.promote import Promoted, promotion_policy, set_promotion_policy
from eventstore.engine.promote import promote as promote_candidate
from eventstore.engine.refresh import refresh as refresh_projection
from eventstore.engine.replay import replay_bucket
from eventstore.engine.snapshots.build import refresh_stale
from eventstore.face.cli.app import Json, app, fail, open_store
from eventstore.face.cli.keeping_up import keep_up
from eventstore.face.cli.output import console, print_fields, print_json, progress_console
from eventstore.kernel.folding import Folding
from eventstore.log.connection import Connection
from eventstore.log.counting import count_rows
from eventstore.orders.domain import DOMAIN

ProjectionName = Annotated[str, typer.Argument(metavar="[PROJECTION]", help="Which projection.")]


@app.command()
def refresh(
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Go on until Ctrl-C: an append is in every table a moment later."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Fold new events into orders and the other projections, and into what is made from them."""
    if follow:
        keep_up(as_json)
        return
    with open_store() as store, store.connection() as connection:
        results = {
            projection.name: refresh_projection(connection, projection) for projection in DOMAIN.projections
        }
        derived: dict[str, msgspec.Struct] = {"order_snapshots": refresh_stale(connection, DOMAIN.states)}
        derived |= {each.name: refresh_derived(connection, each) for each in DOMAIN.derived}
    orders = results[DOMAIN.states.name]
    if as_json:
        print_json(msgspec.structs.asdict(orders) | {"projections": results | derived})
        return
    for name, result in results.items():
        print_fields(
            {
                "events": result.events,
                "rows": result.rows,
                "watermark": result.watermark,
                "lag_events": result.lag.events,
                "lag_seconds": result.lag.seconds,
            },
            title=name,
        )
    for name, done in derived.items():
        print_fields(msgspec.structs.asdict(done), title=name)


@app.command()
def replay(
    name: ProjectionName = DOMAIN.states.name,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what the replay would change; promote nothing.")
    ] = False,
    sample: Annotated[
        int, typer.Option(min=0, help="How many orders --preview shows before and after.")
    ] = SAMPLE,
    as_json: Json = False,
) -> None:
    """Fold the whole log again and put the result in the place of the live table, in one step."""
    projection = _projection(name)
    with open_store() as store, store.connection() as connection:
        replayed = _replay(connection, projection, projection.current, held=preview, quiet=as_json)
        if preview:
            found = preview_promotion(connection, projection, sample=sample)
            if found is None:
                raise fail("another replay got in between: run it again", 1)
            print_json(found) if as_json else _print_preview(found, projection)
            return
        promoted = promote_candidate(connection, projection, by_hand=True)
        watermark = refresh_projection(connection, projection).watermark
    result = replayed | _difference(promoted) | {"watermark": watermark}
    print_json(result) if as_json else print_fields(result)


@app.command()
def promote(name: ProjectionName = DOMAIN.states.name, as_json: Json = False) -> None:
    """Make a complete replay, for example of `replay --preview`, the live table."""
    projection = _projection(name)
    with open_store() as store, store.connection() as connection:
        promoted = promote_candidate(connection, projection, by_hand=True)
        if promoted is None:
            found = candidate(connection, projection)
            raise fail(
                f"nothing to promote: {found.buckets} of {BUCKETS} buckets stand by rules "
                f"{projection.fold_version}, {found.others} by others; "
                f"run `eventstore replay{_argument(projection)} --preview`",
                1,
            )
    print_json(promoted) if as_json else print_fields(_difference(promoted))


@app.command()
def promotion(
    policy: Annotated[str | None, typer.Argument(metavar="[auto|manual]", help="The new policy.")] = None,
    name: ProjectionName = DOMAIN.states.name,
    as_json: Json = False,
) -> None:
    """Show or set who promotes a complete replay: the next refresh (auto) or a person (manual)."""
    projection = _projection(name)
    with open_store() as store, store.connection() as connection:
        if policy is not None:
            try:
                set_promotion_policy(connection, projection, policy)
            except ValueError as error:
                raise fail(str(error)) from None
        now = {"promotion": promotion_policy(connection, projection)}
    print_json(now) if as_json else print_fields(now)


@app.command()
def rollback(name: ProjectionName = DOMAIN.states.name, as_json: Json = False) -> None:
    """Replay by the rules before the current ones and promote that."""
    projection = _projection(name)
    if len(projection.foldings) < 2:
        raise fail(
            f"this release knows only the rules {projection.fold_version}: install the release before it "
            f"and run `eventstore replay{_argument(projection)}` there",
            1,
        )
    before = projection.foldings[-2]
    with open_store() as store, store.connection() as connection:
        replayed = _replay(connection, projection, before, held=True, quiet=as_json)
        promoted = promote_candidate(connection, projection, by_hand=True, folding=before)
        watermark = refresh_projection(connection, projection).watermark
    result = {"rules": before.version} | replayed | _difference(promoted) | {"watermark": watermark}
    print_json(result) if as_json else print_fields(result)


def _projection(name: str) -> Projection[Any]:
    try:
        return DOMAIN.projection(name)
    except ValueError as error:
        raise fail(str(error)) from None


def _argument(projection: Projection[Any]) -> str:
    """What follows the command that means this projection."""
    return "" if projection is DOMAIN.states else f" {projection.name}"


def _replay(
    connection: Connection, projection: Projection[Any], folding: Folding, *, held: bool, quiet: bool
) -> dict[str, int]:
    """Replay all buckets with a progress bar."""
    total = count_rows(connection, "order_events").rows
    counts = {"events": 0, "rows": 0, "quarantined": 0}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=progress_console,
        disable=quiet or not progress_console.is_terminal,
    ) as progress:
        task = progress.add_task("replaying", total=total)

        def advance(events: int) -> None:
            progress.advance(task, events)

        for bucket in range(BUCKETS):
            done = replay_bucket(
                connection, bucket, projection, on_progress=advance, folding=folding, held=held
            )
            counts["events"] += done.events
            counts["rows"] += done.rows
            counts["quarantined"] += done.quarantined
    return counts


def _difference(promoted: Promoted | None) -> dict[str, Any]:
    if promoted is None:
        raise fail("another replay got in between: run it again", 1)
    return {"added": promoted.added, "changed": promoted.changed, "gone": promoted.gone}


def _print_preview(found: Preview, projection: Projection[Any]) -> None:
    rows = "orders" if len(projection.layout.key) == 1 else "rows"
    print_fields(
        {
            "rules": f"{found.live_version} -> {found.candidate_version}",
            rows: found.orders,
            "added": found.added,
            "gone": found.gone,
            "changed": found.changed,
            "quarantined": found.quarantined,
        }
    )
    if not found.differences:
        console.print("No differences.")
        return
    columns = Table("column", f"{rows} that change", box=None, pad_edge=False)
    for column, count in found.columns.items():
        columns.add_row(column, f"{count:,}")
    totals = Table("total", "currency", "before", "after", box=None, pad_edge=False)
    for total in found.totals:
        if total.before != total.after:
            totals.add_row(total.column, total.currency or "", f"{total.before:,}", f"{total.after:,}")
    pairs = Table("order", "before", "after", box=None, pad_edge=False)
    for pair in found.sample:
        pairs.add_row(_which(pair), _values(pair.before), _values(pair.after))
    for table in (columns, totals, pairs):
        if table.row_count:
            console.print(table, markup=False)
    console.print(f"Nothing is promoted yet: `eventstore promote{_argument(projection)}` does.")


def _which(pair: Difference) -> str:
    return "\n".join(
        [
            str(pair.order_id),
            *(f"{column} {value:%Y-%m-%d %H:%M:%S.%f}" for column, value in pair.which.items()),
        ]
    )


def _values(values: dict[str, Any] | None) -> str:
    return "—" if values is None else ", ".join(f"{column} {value}" for column, value in values.items())
