"""rejects: lines that could not be appended; see them, try them again, or settle that they are none."""

import getpass
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from eventstore.face.cli.app import Json, app, fail, open_store
from eventstore.face.cli.output import console, print_fields, print_json
from eventstore.ingestion.files import printable
from eventstore.ingestion.rejects import (
    Discarded,
    Reject,
    count_by_reason,
    discard_all,
    find_reject,
    list_rejects,
    retry,
)
from eventstore.ingestion.rejects import discard as discard_rejects
from eventstore.kernel.counted import counted
from eventstore.kernel.moments import moment
from eventstore.kernel.shown import shown
from eventstore.log.connection import Connection

_RAW_SHOWN = 200
_HEADINGS = ("id", "file", "line", "reason", "detail", "raw")

rejects_app = typer.Typer(help="Lines that could not be appended, with their reasons.")
app.add_typer(rejects_app, name="rejects")

Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", help="As `eventstore rejects` shows them.")]


@rejects_app.callback(invoke_without_command=True)
def rejects(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option(help="Only lines with this reason.")] = None,
    file: Annotated[str | None, typer.Option(help="Only lines of this file.")] = None,
    discarded: Annotated[
        bool, typer.Option("--discarded", help="Those that somebody discarded: who, and why.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show so many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List the lines that wait for a fix."""
    if context.invoked_subcommand is not None:
        return
    with open_store() as store, store.connection() as connection:
        counts = count_by_reason(connection)
        found = list_rejects(connection, file=file, reason=reason, discarded=discarded, limit=limit)
    if as_json:
        rows = [_as_json(reject, raw=True) for reject in found]
        print_json({"waiting": sum(counts.values()), "by_reason": counts, "rejects": rows})
        return
    if not console.is_terminal:
        _print_lines(found)
    else:
        for reject in found:
            _print_block(reject)
    if discarded:
        console.print(f"{counted(len(found), 'line')} shown that somebody discarded.")
        return
    if not counts:
        console.print("No rejects wait.")
        return
    if not found:
        of = " and ".join(
            [f"the reason {shown(reason)}"] * (reason is not None)
            + [f"the file {shown(file)}"] * (file is not None)
        )
        console.print(f"No line that waits has {of}.", markup=False)
    print_fields({"waiting": sum(counts.values()), "by_reason": counts})
    console.print("See one: `eventstore rejects show ID`. After a fix: `eventstore rejects retry`.")
    console.print("Never to be appended: `eventstore rejects discard ID… --reason TEXT`.")


@rejects_app.command("show")
def show_reject(
    reject_id: Annotated[int, typer.Argument(metavar="ID", help="As `eventstore rejects` shows it.")],
    raw: Annotated[bool, typer.Option("--raw", help="Print the line itself, and nothing else.")] = False,
    as_json: Json = False,
) -> None:
    """Show all that is known of one reject; the line itself on request, since it can hold personal data."""
    with open_store() as store, store.connection() as connection:
        reject = find_reject(connection, reject_id)
    if reject is None:
        raise fail(f"there is no reject {reject_id}: see `eventstore rejects`")
    if as_json:
        print_json(_as_json(reject, raw=raw))
    elif raw and console.is_terminal:
        typer.echo(printable(reject.raw.decode(errors="replace")))
    elif raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(reject.raw + b"\n")
    else:
        fields = _as_json(reject, raw=False)
        print_fields(fields | {"line": str(reject.line), "id": str(reject.id)})


@rejects_app.command("retry")
def retry_rejects(ids: Ids = None, as_json: Json = False) -> None:
    """Try again to append what was rejected, for example after an upgrade that knows a new event type.

    All that wait, or those with these ids.
    """
    with open_store() as store, store.connection() as connection:
        for each in ids or ():
            if find_reject(connection, each) is None:
                raise fail(f"there is no reject {each}: see `eventstore rejects`")
        done = retry(connection, store.domain.events, store.domain.formats, ids or None)
    print_json(done) if as_json else print_fields(
        {
            "read": done.read,
            "appended": done.appended,
            "duplicates": done.duplicates,
            "still_rejected": done.rejected,
            "rejects_by_reason": done.rejects_by_reason,
        }
    )


@rejects_app.command("discard")
def discard(
    ids: Ids = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why they are never to be appended.")
    ] = "",
    kind: Annotated[
        str | None, typer.Option(metavar="CODE", help="All that wait with this reason, such as not_json.")
    ] = None,
    file: Annotated[str | None, typer.Option(help="All that wait of this file.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, where --kind or --file is given.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Settle rejects that are never to be appended. They are kept, with who decided so, when and why."""
    if not reason.strip():
        raise fail("say why, with --reason TEXT: somebody will ask")
    if bool(ids) == (kind is not None or file is not None):
        raise fail("say which: ids, or --kind CODE and --file FILE for all of these that wait")
    with open_store() as store, store.connection() as connection:
        by = _by(connection)
        if ids:
            done = discard_rejects(connection, ids, why=reason, by=by)
        else:
            if not yes:
                _ask(connection, kind, file)
            done = discard_all(connection, reason=kind, file=file, why=reason, by=by)
    _report(done, as_json)


def _ask(connection: Connection, kind: str | None, file: str | None) -> None:
    first = list_rejects(connection, reason=kind, file=file, limit=1000)
    many = counted(len(first), "line", or_more=len(first) == 1000)
    if not typer.confirm(f"Discard {many}? What is discarded is kept, and never tried again.", err=True):
        raise fail("nothing was discarded", 1)


def _report(done: Discarded, as_json: bool) -> None:
    if as_json:
        print_json(done)
    else:
        typer.echo(f"discarded {counted(len(done.ids), 'line')}")
        if done.settled_before:
            typer.echo(f"settled before: {', '.join(map(str, done.settled_before))}")
    if done.unknown:
        raise fail(f"there is no reject {', '.join(map(str, done.unknown))}", 1)


def _by(connection: Connection) -> str:
    """Who does it: the user of this machine, and the role in the database."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        user = "somebody"
    return f"{user} (role {connection.info.user})"


def _as_json(reject: Reject, *, raw: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": reject.id,
        "file": reject.file,
        "line": reject.line,
        "format": reject.format,
        "reason": reject.reason,
        "detail": reject.detail,
    }
    if raw:
        found["raw"] = reject.raw.decode(errors="replace")
    else:
        found["bytes"] = reject.raw_bytes
    found["rejected_at"] = reject.rejected_at
    if reject.resolved_at:
        found["settled_at"] = reject.resolved_at
    if reject.discarded_at:
        found["discarded_by"], found["discard_reason"] = reject.discarded_by, reject.discard_reason
    return found


def _print_lines(found: list[Reject]) -> None:
    """In a pipe: a line each, whole."""
    if not found:
        return
    typer.echo("\t".join(_HEADINGS))
    for reject in found:
        raw = reject.raw[:_RAW_SHOWN].decode(errors="replace")
        texts = (str(reject.id), reject.file, str(reject.line), reject.reason, reject.detail, raw)
        typer.echo("\t".join(map(printable, texts)))


def _print_block(reject: Reject) -> None:
    head = Text(f"{reject.id:>6}  ", style="dim")
    head.append(f"{printable(Path(reject.file).name)}:{reject.line}", style="bold not dim")
    head.append(f"  {printable(reject.reason)}", style="red not dim")
    console.print(head)
    console.print(Text(f"        {printable(reject.detail)}"))
    if reject.discarded_at:
        who = printable(f"discarded {moment(reject.discarded_at)} by {reject.discarded_by}")
        console.print(Text(f"        {who}: {printable(reject.discard_reason or '')}", style="dim"))
