"""refresh and replay: from the log to the read models."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eventstore.face.cli.app import Json, app, open_store
from eventstore.face.cli.output import print_fields, print_json, progress_console
from eventstore.readmodels.projection import BUCKETS
from eventstore.readmodels.promote import promote
from eventstore.readmodels.refresh import refresh as refresh_projection
from eventstore.readmodels.replay import replay_bucket


@app.command()
def refresh(as_json: Json = False) -> None:
    """Fold new events into the orders table."""
    with open_store() as store, store.connection() as connection:
        result = refresh_projection(connection)
    print_json(result) if as_json else print_fields(
        {
            "events": result.events,
            "rows": result.rows,
            "watermark": result.watermark,
            "lag_events": result.lag.events,
            "lag_seconds": result.lag.seconds,
        }
    )


@app.command()
def replay(as_json: Json = False) -> None:
    """Fold the whole log again and put the result in the place of the orders table, in one step."""
    with open_store() as store, store.connection() as connection:
        refresh_projection(connection)
        (total,) = connection.execute("SELECT count(*) FROM order_events").fetchone() or (0,)
        events = rows = 0
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=progress_console,
            disable=as_json,
        ) as progress:
            task = progress.add_task("replaying", total=total)
            for bucket in range(BUCKETS):
                done = replay_bucket(
                    connection, bucket, on_progress=lambda count: progress.advance(task, count)
                )
                events, rows = events + done.events, rows + done.rows
        promoted = promote(connection)
        refreshed = refresh_projection(connection)
    result = {
        "events": events,
        "rows": rows,
        "added": promoted.added if promoted else 0,
        "changed": promoted.changed if promoted else 0,
        "gone": promoted.gone if promoted else 0,
        "watermark": refreshed.watermark,
    }
    print_json(result) if as_json else print_fields(result)
