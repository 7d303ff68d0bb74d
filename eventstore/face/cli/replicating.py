"""horizon and epochs: what replicas may read, and which history the log is in."""

import getpass
import time
from typing import Annotated

import msgspec
import typer

from eventstore.face.cli.app import Above, Json, app, open_store
from eventstore.face.cli.output import print_fields, print_json, print_rows
from eventstore.kernel.moments import moment
from eventstore.log.epochs import Epoch, begin_epoch, declare_epoch
from eventstore.log.epochs import epochs as list_epochs
from eventstore.log.freshness import freshness, tell_replicas

_POLL_SECONDS = 1.0

epochs_app = typer.Typer(
    help="List the histories of the log, each begun by a restore or a promotion; declare one.",
    invoke_without_command=True,
)
app.add_typer(epochs_app, name="epochs")

Reason = Annotated[str, typer.Option(help="Why it began, for those who look at it later.")]


@app.command()
def horizon(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on telling replicas, every second, as `make up` does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell replicas how far the feed is complete, and show it; on a replica, show what it was told."""
    with open_store() as store, store.connection() as connection:
        while True:
            tell_replicas(connection, always=not follow)
            if not follow:
                break
            time.sleep(_POLL_SECONDS)
        now = freshness(connection)
    if as_json:
        print_json(now)
        return
    age = f"{now.age_seconds:,.1f} s" if now.age_seconds is not None else None
    print_fields(
        {
            "server": "a replica" if now.is_replica else "the primary",
            "complete_up_to": now.complete_up_to or "nobody has said so on the primary yet",
            "age": age,
        }
    )


@epochs_app.callback()
def show_epochs(context: typer.Context, as_json: Json = False) -> None:
    """List the epochs after the first one."""
    if context.invoked_subcommand is not None:
        return
    with open_store() as store, store.reading() as connection:
        found = list_epochs(connection)
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("The log is in its first epoch: it was never restored, and no replica took over.")
        return
    rows = [
        (
            str(epoch.epoch),
            moment(epoch.since),
            epoch.kind,
            str(epoch.last_id),
            epoch.declared_by or "found out",
            epoch.reason,
        )
        for epoch in found
    ]
    headings = ("epoch", "since", "kind", "common up to", "declared by", "reason")
    print_rows(headings, rows)


@epochs_app.command()
def begin(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="restore|promotion",
            help="restore: the database went back, consumers and all; promotion: a replica took over.",
        ),
    ],
    reason: Reason,
    above: Above = None,
    as_json: Json = False,
) -> None:
    """Declare that the log was restored by other means, or that a replica took over."""
    if kind not in {"restore", "promotion"}:
        raise typer.BadParameter(f"{kind!r} is neither restore nor promotion")
    with open_store() as store, store.connection() as connection:
        _show(begin_epoch(connection, kind, reason, max(above) if above else None, _me()), as_json)


@epochs_app.command()
def declare(
    epoch: Annotated[int, typer.Argument(metavar="EPOCH", help="An epoch that was found out.")],
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Say why an epoch began that nobody had declared."""
    with open_store() as store, store.connection() as connection:
        _show(declare_epoch(connection, epoch, reason, _me()), as_json)


def _show(epoch: Epoch, as_json: bool) -> None:
    print_json(epoch) if as_json else print_fields(msgspec.structs.asdict(epoch))


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return "somebody"
