"""Dumps: one database, with the roles that it needs, for a server of any version from 15 on."""

import hashlib
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import IO, Any, TypeVar

import psycopg

from eventstore.server import cluster
from eventstore.server.backup import catalogue, programs
from eventstore.server.backup.catalogue import Backup, Found
from eventstore.server.databases import CONNECT_TIMEOUT_S, cannot_connect, drop_database, ensure_database
from eventstore.server.errors import ServerError
from eventstore.server.settings import dagster_database_url
from eventstore.server.urls import database_name, without_password

_STORE, _DAGSTER, _ROLES = "store.dump", "dagster.dump", "roles.sql"
_WITHOUT_HASH = "/* password */ '' /* … */"
_HASH = "coalesce(format(' PASSWORD %L', (SELECT rolpassword FROM pg_authid a WHERE a.oid = role.oid)), '')"
#: Written by programs that are newer than the server, which does not know it.
_UNKNOWN_BEFORE_17 = b"SET transaction_timeout = 0;\n"
#: A replay holds the table of its bucket until that stands: minutes, on a long log.
_LOCK_WAIT_S = 3600

T = TypeVar("T")
Connection = psycopg.Connection[Any]


def take(url: str, backups: Path) -> Found:
    """Dump the database at ``url``, that of its Dagster if there is one, and the roles that they need."""
    started_at = datetime.now(UTC)
    folder = catalogue.begin(backups / catalogue.DUMPS, started_at)
    try:
        with _connected(url) as connection:
            version, user = connection.info.server_version // 10_000, connection.info.user
            roles = _roles(connection)
        with suppress(psycopg.OperationalError), psycopg.connect(dagster_database_url(url)):
            _dump(dagster_database_url(url), folder / _DAGSTER)
        _dump(url, folder / _STORE)
        (folder / _ROLES).touch(mode=0o600)  # it may hold the hashes of passwords
        (folder / _ROLES).write_text("".join(f"{statement}\n" for statement in roles), encoding="utf-8")
        return catalogue.finish(
            folder,
            Backup(
                kind="dump",
                started_at=started_at,
                finished_at=datetime.now(UTC),
                server_version=version,
                database=database_name(url),
                user=user,
                bytes=sum(path.stat().st_size for path in folder.iterdir()),
                checksums={path.name: _checksum(path) for path in sorted(folder.glob("*.dump"))},
            ),
        )
    except BaseException:
        catalogue.abandon(folder)
        raise


def restore(found: Found, url: str, settle: Callable[[str], T]) -> T:
    """Restore a dump into the database at ``url``, which is made where it is missing, and must be empty.

    All of it or nothing. ``settle`` is called afterwards. What the dump does not bring, such as the database
    of Dagster where there was none, is left to be made. Raises ServerError.
    """
    _compare(found)
    made = _prepare(url)
    try:
        _create_roles(url, found.folder / _ROLES)
        _load(found.folder / _STORE, url)
    except BaseException:
        if made:
            drop_database(url)
        raise
    dagster = found.folder / _DAGSTER
    if dagster.exists() and _prepare(dagster_database_url(url)):
        _load(dagster, dagster_database_url(url))
    return settle(url)


def _compare(found: Found) -> None:
    for name, checksum in found.backup.checksums.items():
        try:
            is_sound = _checksum(found.folder / name) == checksum
        except OSError as error:
            raise ServerError(f"the dump {found.folder} cannot be read: {name}: {error.strerror}") from None
        if not is_sound:
            raise ServerError(f"the dump {found.folder} is damaged: {name} is not what was written")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _prepare(url: str) -> bool:
    """Whether the database was made now. Raises ServerError where there is one that holds something."""
    try:
        psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.OperationalError as error:
        if "does not exist" not in str(error):
            raise ServerError(cannot_connect(error)) from None
        ensure_database(url)
        return True
    with _connected(url) as connection:
        found = connection.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' LIMIT 1"
        ).fetchone()
    if found is not None:
        raise ServerError(
            f"{without_password(url)} is not empty: name a database that does not exist yet; it will be made"
        )
    return False


def _dump(url: str, target: Path) -> None:
    options = ("--format=custom", "--no-owner", "--no-subscriptions", f"--lock-wait-timeout={_LOCK_WAIT_S}s")
    try:
        programs.run("pg_dump", url, *options, f"--file={target}")
    except ServerError as error:
        if "permission denied" in str(error):
            raise ServerError(
                f"{error}: dump as the owner of the database, or grant the role pg_read_all_data"
            ) from None
        if "statement timeout" not in str(error):  # it has none but for these locks
            raise
        raise ServerError(
            f"waited {_LOCK_WAIT_S:,} seconds for a table that another session has locked; "
            "`eventstore status` says which session"
        ) from None
    target.chmod(0o600)


def _roles(connection: Connection) -> list[str]:
    query = resources.files(__package__).joinpath("roles.sql").read_text(encoding="utf-8")
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if row == (True,):
        query = query.replace(_WITHOUT_HASH, _HASH)
    return [row[0] for row in connection.execute(query.encode())]


def _create_roles(url: str, file: Path) -> None:
    with _connected(url) as connection:
        for statement in file.read_text(encoding="utf-8").splitlines():
            try:
                connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                raise ServerError(
                    f"{connection.info.user} may not create the roles that the dump needs: let an "
                    f"administrator run {file} by psql, then restore again"
                ) from None


def _load(dump: Path, url: str) -> None:
    """As a script, in one transaction: what fails leaves nothing behind, and any version can be told."""
    conninfo, environment = programs.connection(url)
    with _connected(url) as connection:
        version = connection.info.server_version // 10_000
    script = subprocess.Popen(
        [cluster.program("pg_restore"), "--no-owner", "--file=-", dump],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    loading = subprocess.Popen(
        [
            cluster.program("psql"),
            *("--dbname", conninfo, "--no-password", "--no-psqlrc", "--quiet"),
            *("--set", "ON_ERROR_STOP=1"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert script.stdout is not None
    assert loading.stdin is not None
    try:
        with suppress(BrokenPipeError):  # psql says why
            loading.stdin.write(b"BEGIN;\n")
            _pass_on(script.stdout, loading.stdin, None if version >= 17 else _UNKNOWN_BEFORE_17)
            if script.wait() == 0:
                loading.stdin.write(b"COMMIT;\n")  # where this process ends before, psql commits nothing
        with suppress(BrokenPipeError):
            loading.stdin.close()
    except BaseException:
        for process in (loading, script):
            process.kill()
            process.wait()
        raise
    loading.stdin = None
    script.stdout.close()
    script.stdout = None
    for name, process in (("restoring the dump", loading), ("pg_restore", script)):
        said = process.communicate()[1]
        if process.returncode != 0:
            script.kill()
            raise ServerError(programs.failure(name, said, process.returncode))


def _pass_on(source: IO[bytes], target: IO[bytes], without: bytes | None) -> None:
    """The script, without a line of its head."""
    for line in source:
        if line.startswith(b"COPY "):
            without = None
        if line != without:
            target.write(line)
        if without is None:
            break
    while block := source.read(2**20):
        target.write(block)


def _connected(url: str) -> Connection:
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg.OperationalError as error:
        raise ServerError(cannot_connect(error)) from None
