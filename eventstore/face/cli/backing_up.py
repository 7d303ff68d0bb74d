"""backup and restore: a copy of everything, and a server or a database made from one."""

import getpass
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from eventstore.face.cli.app import Above, Json, app, fail
from eventstore.face.cli.output import note, print_fields, print_json, warn
from eventstore.face.times import describe_time, parse_time
from eventstore.kernel.addresses import begins_like_one
from eventstore.kernel.recorded import to_ms
from eventstore.log.connection import must_be_a_store, open_connection
from eventstore.log.epochs import begin_epoch
from eventstore.log.schema import migrate
from eventstore.orders.domain import DOMAIN
from eventstore.seals.checkpoint import Signed
from eventstore.seals.outside import outside
from eventstore.server import cluster, settings
from eventstore.server.backup import base_backup, catalogue, dump, recovery
from eventstore.server.backup.catalogue import Found
from eventstore.server.errors import ServerError
from eventstore.server.urls import checked, without_password


@app.command()
def backup(
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The folder of backups; without it EVENTSTORE_BACKUPS."),
    ] = None,
    as_dump: Annotated[
        bool, typer.Option("--dump", help="Dump the database and its roles, for a server of any version.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="Only list the backups that there are.")] = False,
    as_json: Json = False,
) -> None:
    """Back up the server as a whole, or one database as a dump; list the backups.

    A dump is taken, too, where the role may not copy the server.
    """
    folder = _folder(to)
    _warn_of_unreadable(folder)
    if listed:
        _print_list(catalogue.all_of(folder), as_json)
        return
    url = settings.database_url()
    must_be_a_store(url)  # a backup of another database would be missed when it is needed
    if as_dump:
        found = dump.take(url, folder)
    else:
        try:
            base_backup.identity(url)
        except ServerError as error:
            note(f"{error}; taking a dump instead")
            found = dump.take(url, folder)
        else:
            found = base_backup.take(url, folder)
    result = _fields(found)
    print_json(result) if as_json else print_fields(result)


@app.command()
def restore(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FOLDER",
            help="The folder of backups, or one of these; else EVENTSTORE_BACKUPS.",
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="TIME", help="As it was at that moment; without it, all there is.")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="HOME|URL",
            help="A home folder without a server, or the URL of a database that does not exist or is empty; "
            "without it EVENTSTORE_HOME, or DATABASE_URL where it is set.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for those who look at the epochs later.")] = "restored",
    above: Above = None,
    as_json: Json = False,
) -> None:
    """Restore a backup into a new home folder, or a dump into a new database, and begin an epoch there.

    A TIME is ISO 8601 (without a zone: UTC), a date (its start) or words such as "10 minutes ago".
    """
    folder = _folder(source)
    moment = None if to is None else parse_time(to)
    if to is not None and moment is not None and moment > datetime.now(UTC):
        when = describe_time(moment, to)
        raise fail(f"--to: {when} has not come yet")
    url, home = _target(into)
    _warn_of_unreadable(_parent(folder))
    declare = _Declaration(reason, [*(above or []), *_known(folder)])
    if url is not None:
        if moment is not None:
            raise fail("--to: a dump is of one moment; restore a base backup into a folder")
        found = _dump_in(folder)
        begun = dump.restore(found, url, declare)
        where = {"database": without_password(url)}
    else:
        found = recovery.choose(_parent(folder), moment) if not _is_backup(folder) else _one(folder, "base")
        restored = recovery.restore(found, home, moment, declare, note)
        begun, where = restored.settled, {"data": str(restored.data), "next": _how_to_serve(restored, home)}
    result: dict[str, Any] = {"backup": str(found.folder)} | begun | where
    print_json(result) if as_json else print_fields(result)


class _Declaration:
    """Brings a restored database up to date and begins its epoch; says what came back."""

    def __init__(self, reason: str, known: list[UUID]) -> None:
        self._reason, self._known = reason, max(known, default=None)

    def __call__(self, url: str) -> dict[str, Any]:
        migrate.upgrade(url, functions=DOMAIN.functions)
        with open_connection(url) as connection:
            events, newest = connection.execute(
                "SELECT count(*), (SELECT id FROM order_events WHERE id <= (SELECT feed_ceiling()) "
                "ORDER BY id DESC LIMIT 1) FROM order_events"
            ).fetchone() or (0, None)
            begun = begin_epoch(connection, "restore", self._reason, self._known, _me())
            last = connection.execute("SELECT recorded_at(%s)", (newest,)).fetchone()
        return {
            "events": events,
            "last_recorded_at": last and last[0],
            "last_id": newest,
            "known_elsewhere": self._known,
            "epoch": begun.epoch,
            "common_up_to": begun.last_id,
        }


def _known(folder: Path) -> list[UUID]:
    """Up to where the log has had events, by what is kept outside of the database: nothing is taken for known
    that no clock can have said.
    """
    found = []
    with suppress(ValueError):
        found += [UUID(text) for text in [catalogue.known(_parent(folder))] if text]
    checkpoints = outside().folder
    newest = checkpoints.newest()
    signed = checkpoints.read(newest) if newest else None
    if isinstance(signed, Signed):
        found.append(signed.checkpoint.horizon)
    latest = to_ms(datetime.now(UTC) + timedelta(hours=1))
    return [event_id for event_id in found if event_id.int >> 80 <= latest]


def _folder(given: Path | None) -> Path:
    if given and begins_like_one(str(given)):
        raise fail("backups are kept in a folder: this begins as a URL does")
    folder = given.expanduser().absolute() if given else settings.backups()
    if folder is None:
        raise fail("name the folder of backups, by an option or by EVENTSTORE_BACKUPS: best on another disk")
    return folder


def _target(into: str | None) -> tuple[str | None, Path]:
    if into is None:
        return (None if settings.embedded_home() else settings.database_url()), settings.home()
    if begins_like_one(into):
        return checked(into, name="--into"), settings.home()
    return None, Path(into).expanduser().absolute()


def _is_backup(folder: Path) -> bool:
    return (folder / "backup.json").exists()


def _parent(folder: Path) -> Path:
    """The folder of backups that a folder is, or that it is a backup of."""
    if not _is_backup(folder):
        return folder
    return folder.parents[1] if folder.parent.name == catalogue.DUMPS else folder.parents[2]


def _one(folder: Path, kind: str) -> Found:
    for found in catalogue.all_of(_parent(folder)):
        if found.folder == folder:
            if found.backup.kind != kind:
                raise fail(f"{folder} is a {found.backup.kind}: that goes {_WHERE[found.backup.kind]}")
            return found
    raise fail(f"{folder} is no finished backup")


_WHERE = {"dump": "into a database: --into URL", "base": "into a folder: --into HOME"}


def _dump_in(folder: Path) -> Found:
    if _is_backup(folder):
        return _one(folder, "dump")
    dumps = [found for found in catalogue.all_of(folder) if found.backup.kind == "dump"]
    if not dumps:
        raise ServerError(f"there is no dump in {folder}: only a dump can be restored into a database")
    return dumps[-1]


def _how_to_serve(restored: recovery.Restored[Any], home: Path) -> str:
    version = restored.backup.backup.server_version
    if version == cluster.VERSION and home == settings.home():
        return "make up"
    if version == cluster.VERSION:
        return f"EVENTSTORE_HOME={home} make up"
    return f"serve it with PostgreSQL {version}, and set DATABASE_URL"


def _warn_of_unreadable(folder: Path) -> None:
    for path in catalogue.unreadable(folder):
        warn(f"{path} cannot be read: that backup does not count")


def _print_list(found: list[Found], as_json: bool) -> None:
    if as_json:
        print_json([_fields(one) for one in found])
        return
    if not found:
        typer.echo("There is no backup yet.")
    for one in found:
        print_fields(_fields(one))


def _fields(found: Found) -> dict[str, Any]:
    backup = found.backup
    return {
        "backup": str(found.folder),
        "kind": backup.kind,
        "finished_at": backup.finished_at,
        "seconds": (backup.finished_at - backup.started_at).total_seconds(),
        "megabytes": backup.bytes / 1e6,
        "server": f"PostgreSQL {backup.server_version}",
    }


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
