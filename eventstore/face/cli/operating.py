"""init, status, url and down: the store as a whole."""

from datetime import UTC, datetime

import msgspec
import typer

from eventstore.engine.status import status as read_status
from eventstore.face.cli.app import Json, app, open_store
from eventstore.face.cli.output import describe_seconds, in_one_line, lag, print_fields, print_json
from eventstore.face.cli.proving import print_proofs
from eventstore.log.holders import who
from eventstore.log.schema import migrate
from eventstore.orders.domain import DOMAIN
from eventstore.seals.status import in_words as seals_in_words
from eventstore.seals.status import seal_status
from eventstore.server import embedded
from eventstore.server.backup.catalogue import LastBackup, last_backup
from eventstore.server.databases import ensure_database
from eventstore.server.settings import backups, database_url, home, landing, made
from eventstore.server.urls import without_password


@app.command()
def init(as_json: Json = False) -> None:
    """Create or migrate the database and the landing folder; safe to run again."""
    url = database_url()
    ensure_database(url)
    before = migrate.current(url)
    migrate.upgrade(url, functions=DOMAIN.functions)
    made(landing())
    result = {
        "database": without_password(url),
        "revision": migrate.current(url),
        "previous_revision": before,
        "landing": str(landing()),
    }
    print_json(result) if as_json else print_fields(result)


@app.command()
def status(as_json: Json = False) -> None:
    """Show the log, its clock, who holds what back, the lag of each follower, the rejects, and what to do."""
    with open_store() as store, store.connection() as connection:
        now = read_status(connection, store.domain)
        seals = seal_status(connection)
    backup = last_backup(backups())
    if as_json:
        print_json(msgspec.structs.asdict(now) | {"seals": seals, "backup": backup})
        return
    events = f"{'' if now.events_exact else 'about '}{now.events:,}"
    print_fields(
        {
            "events": events,
            "horizon": now.horizon,
            "rejects": now.rejects or "none",
            "seals": seals_in_words(seals),
            "backup": _backup(backup),
        }
    )
    for holder in now.horizon_holders:
        open_for = (datetime.now(UTC) - holder["open_since"]).total_seconds() if holder["open_since"] else 0.0
        typer.echo(
            f"horizon held by an open append of {holder['role']} ({in_one_line(holder['application_name'])}, "
            f"pid {holder['pid']}, {holder['state']}) for {open_for:.1f} s"
        )
    for other in now.holders:
        if other.kind != "append":
            what = f"{other.kind} {other.name}" if other.name else other.kind
            waits = f", waits for pid {_pids(other.waiting_for)}" if other.waiting_for else ""
            verb = "held" if other.granted else "awaited"
            typer.echo(in_one_line(f"{what} {verb} by {who(other)}{waits}"))
    for event in now.clock.waiting_events:
        typer.echo(
            f"event {event.id} waits: version {event.version} of order {event.order_id}, {event.recorded_at}"
        )
    for warning in now.warnings:
        typer.secho(in_one_line(f"warning: {warning}"), fg=typer.colors.YELLOW)
    for name, consumer in now.consumers.items():
        print_fields(
            {
                "owner": consumer.owner,
                "followed_by": _pids(consumer.followed_by),
                "watermark": consumer.watermark,
                "lag": lag(consumer),
                "last_seen": consumer.updated_at,
            },
            title=f"consumer {in_one_line(name)}",
        )
    for name, projection in now.projections.items():
        print_fields(
            {
                "watermark": projection.watermark,
                "lag": lag(projection),
                "rules": projection.fold_version,
                "refreshed": projection.updated_at or "never: run `eventstore refresh`",
            },
            title=name,
        )
    print_proofs(now.proofs.values())


def _backup(last: LastBackup | None) -> str:
    """The age of the last good one, and of what is archived after it."""
    if backups() is None:
        return "none are taken: set EVENTSTORE_BACKUPS"
    if last is None:
        return "none yet"
    words = f"a {last.kind} of {describe_seconds(last.age_seconds)} ago"
    if last.archived_seconds_ago is not None:
        words += f", the log after it up to {describe_seconds(last.archived_seconds_ago)} ago"
    return words


def _pids(pids: list[int]) -> str:
    return ", ".join(str(pid) if pid else "a prepared transaction" for pid in pids)


@app.command()
def url(as_json: Json = False) -> None:
    """Print the database URL, for example for psql "$(eventstore url)"."""
    where = database_url()
    print_json({"url": where}) if as_json else typer.echo(where)


@app.command()
def down(as_json: Json = False) -> None:
    """Stop the embedded PostgreSQL. The data stays."""
    stopped = embedded.stop(home())
    if as_json:
        print_json({"stopped": stopped})
    else:
        typer.echo("stopped" if stopped else f"no embedded PostgreSQL is running in {home()}")
