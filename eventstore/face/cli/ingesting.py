"""ingest and rejects: files of events in; what could not go in is kept."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from eventstore.face.cli.app import Json, app, open_store
from eventstore.face.cli.output import complain, console, print_fields, print_json, progress_console
from eventstore.ingestion import load
from eventstore.ingestion.files import printable
from eventstore.ingestion.formats import in_words
from eventstore.ingestion.rejects import count_by_reason, list_rejects, retry
from eventstore.orders.domain import DOMAIN

_RAW_SHOWN = 200

rejects_app = typer.Typer(help="Lines that could not be appended, with their reasons.")
app.add_typer(rejects_app, name="rejects")


@app.command(help=f"Append the events of files, plain or .gz: {in_words(DOMAIN.formats)}.")
def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, or folders of files.")],
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

        done = load.ingest(connection, store.domain.events, store.domain.formats, paths, on_progress=report)
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
    print_json(counts) if as_json else print_fields(counts)
    if done.rejected and not as_json:
        console.print("See `eventstore rejects`; after a fix: `eventstore rejects retry`.")
    for each in not_read:
        complain(f"not read: {each.file}: {each.reason}")
    if not_read:
        raise typer.Exit(1)


@rejects_app.callback(invoke_without_command=True)
def rejects(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option(help="Only lines with this reason.")] = None,
    file: Annotated[str | None, typer.Option(help="Only lines of this file.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show so many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List the lines that wait for a fix."""
    if context.invoked_subcommand is not None:
        return
    with open_store() as store, store.connection() as connection:
        counts = count_by_reason(connection)
        found = list_rejects(connection, file=file, reason=reason, limit=limit)
    if as_json:
        rows = [
            {
                "id": reject.id,
                "file": reject.file,
                "line": reject.line,
                "format": reject.format,
                "reason": reject.reason,
                "detail": reject.detail,
                "raw": reject.raw.decode(errors="replace"),
                "rejected_at": reject.rejected_at,
            }
            for reject in found
        ]
        print_json({"waiting": sum(counts.values()), "by_reason": counts, "rejects": rows})
        return
    if not counts:
        console.print("No rejects wait.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("file", "line", "reason", "detail", "raw"):
        table.add_column(column, overflow="fold", no_wrap=column == "line")
    for reject in found:
        raw = reject.raw[:_RAW_SHOWN].decode(errors="replace")
        texts = (Path(reject.file).name, str(reject.line), reject.reason, reject.detail, raw)
        table.add_row(*map(printable, texts))
    console.print(table, markup=False)
    print_fields({"waiting": sum(counts.values()), "by_reason": counts})
    console.print("After a fix: `eventstore rejects retry`.")


@rejects_app.command("retry")
def retry_rejects(as_json: Json = False) -> None:
    """Try again to append what was rejected, for example after an upgrade that knows a new event type."""
    with open_store() as store, store.connection() as connection:
        done = retry(connection, store.domain.events, store.domain.formats)
    print_json(done) if as_json else print_fields(
        {
            "read": done.read,
            "appended": done.appended,
            "duplicates": done.duplicates,
            "still_rejected": done.rejected,
            "rejects_by_reason": done.rejects_by_reason,
        }
    )
