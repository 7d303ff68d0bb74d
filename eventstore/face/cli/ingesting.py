"""ingest: files of events in."""

from collections import Counter
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from eventstore.face.cli.app import Json, app, open_store
from eventstore.face.cli.output import complain, console, print_fields, print_json, progress_console
from eventstore.ingestion import load
from eventstore.ingestion.files import printable
from eventstore.ingestion.formats import in_words
from eventstore.kernel.counted import counted
from eventstore.orders.domain import DOMAIN
from eventstore.server.settings import landing_place, move_files


@app.command(help=f"Append the events of files, plain or .gz: {in_words(DOMAIN.formats)}.")
def ingest(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH", help="Files, or folders of files; URLs too: s3://, gs://, az://, https://."
        ),
    ],
    as_json: Json = False,
) -> None:
    with (
        open_store() as store,
        store.connection() as connection,
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            console=progress_console,
            disable=as_json or not progress_console.is_terminal,
            transient=True,
        ) as progress,
    ):
        task = progress.add_task("reading", total=None)

        def report(now: load.Progress) -> None:
            progress.update(
                task, description=printable(now.path.name), total=now.size, completed=now.position
            )

        done = load.ingest(
            connection,
            store.domain.events,
            store.domain.formats,
            paths,
            on_progress=report,
            landing=landing_place() if move_files() else None,
        )
    not_read = [*done.failed, *done.skipped]
    counts: dict[str, object] = {
        "read": done.read,
        "appended": done.appended,
        "duplicates": done.duplicates,
        "rejected": done.rejected,
        "rejects_by_reason": done.rejects_by_reason,
    }
    if not_read and as_json:
        counts["not_read"] = [each._asdict() for each in not_read]
    if done.moved and as_json:
        counts["moved"] = done.moved
    print_json(counts) if as_json else print_fields(counts)
    if done.rejected and not as_json:
        console.print("See `eventstore rejects`; after a fix: `eventstore rejects retry`.")
    if not as_json:
        places = Counter(to.rpartition("/")[0] for to in done.moved.values())
        for folder, number in sorted(places.items()):
            console.print(f"Moved {counted(number, 'file')} to {folder}", markup=False, highlight=False)
        for sentence in done.known:
            console.print(sentence, markup=False, highlight=False)
    for each in done.not_moved:
        complain(f"read, but not moved: {each.file}: {each.reason}")
    for each in not_read:
        complain(f"not read: {each.file}: {each.reason}")
    if not_read or done.not_moved:  # the events are in; a hand is needed all the same
        raise typer.Exit(1)
