"""Base backups: a copy of the whole server by pg_basebackup, read back and compared before it counts."""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

import msgspec
import psycopg
from psycopg import pq

from eventstore.server.backup import catalogue, programs
from eventstore.server.backup.catalogue import Backup, Found
from eventstore.server.databases import CONNECT_TIMEOUT_S, cannot_connect
from eventstore.server.errors import ServerError
from eventstore.server.urls import database_name

_BLOCK = 2**20
#: Written while the backup is taken, so not in the manifest.
_NOT_LISTED = {"backup_manifest"}


class Identity(NamedTuple):
    """Which server, and which of its histories."""

    system_identifier: str
    timeline: int

    @property
    def generation(self) -> str:
        return catalogue.generation_name(self.system_identifier, self.timeline)


class _WalRange(msgspec.Struct, rename={"timeline": "Timeline", "start": "Start-LSN", "end": "End-LSN"}):
    timeline: int
    start: str
    end: str


class _File(msgspec.Struct, rename={"path": "Path", "size": "Size", "checksum": "Checksum"}):
    size: int
    checksum: str
    path: str = ""  # not of a name that is no UTF-8, which PostgreSQL has none of


class Manifest(
    msgspec.Struct, rename={"files": "Files", "wal": "WAL-Ranges", "checksum": "Manifest-Checksum"}
):
    """What pg_basebackup says that it has copied."""

    files: list[_File]
    wal: list[_WalRange]
    checksum: str = ""


def identity(url: str) -> Identity:
    """Raises ServerError, with the reason, where the role may not copy the server, or it cannot be copied."""
    try:
        with psycopg.connect(
            url, replication="true", autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        ) as connection:
            answer = connection.pgconn.exec_(b"IDENTIFY_SYSTEM")  # the one protocol of such a session
            if answer.status != pq.ExecStatus.TUPLES_OK:
                raise ServerError(connection.pgconn.get_error_message())
            system, timeline = (answer.get_value(0, column) or b"" for column in (0, 1))
    except psycopg.OperationalError as error:
        raise ServerError(f"the server cannot be copied as a whole: {cannot_connect(error)}") from None
    return Identity(system.decode(), int(timeline))


def take(url: str, backups: Path) -> Found:
    """Copy the server into the folder of backups. It counts when every file was read back and compared."""
    found = identity(url)
    version, segment_bytes, user, tablespaces = _facts(url)
    if tablespaces:
        raise ServerError(f"tablespaces are not backed up, and this server has: {', '.join(tablespaces)}")
    started_at = datetime.now(UTC)
    folder = catalogue.begin(backups / found.generation / "base", started_at)
    try:
        programs.run(
            "pg_basebackup",
            url,
            f"--pgdata={folder}",
            "--format=tar",
            "--compress=client-gzip:1",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--manifest-checksums=SHA256",
            "--label=eventstore",
        )
        manifest = read_manifest(folder)
        for _ in verified(folder / "base.tar.gz", manifest):
            pass
        return catalogue.finish(
            folder,
            Backup(
                kind="base",
                started_at=started_at,
                finished_at=datetime.now(UTC),
                server_version=version,
                database=database_name(url),
                user=user,
                bytes=sum(path.stat().st_size for path in folder.iterdir()),
                system_identifier=found.system_identifier,
                timeline=found.timeline,
                start_lsn=manifest.wal[0].start,
                end_lsn=manifest.wal[-1].end,
                segment_bytes=segment_bytes,
            ),
        )
    except BaseException:
        catalogue.abandon(folder)
        raise


def read_manifest(folder: Path) -> Manifest:
    """Raises ServerError where it is missing or damaged; its last line is a checksum of those before."""
    try:
        content = (folder / "backup_manifest").read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ServerError(f"the manifest of the backup {folder} cannot be read: {error}") from None
    lines, _, _ = content.rpartition(b'"Manifest-Checksum"')
    if hashlib.sha256(lines).hexdigest() != manifest.checksum:
        raise ServerError(f"the manifest of the backup {folder} is damaged: it is not what was written")
    return manifest


def verified(archive: Path, manifest: Manifest, into: Path | None = None) -> Iterator[str]:
    """The names of the files in the archive, each compared with the manifest, and extracted if so wanted.

    Raises ServerError for a file that is missing, cut or changed.
    """
    wanted = {file.path: file for file in manifest.files}
    for name, size, checksum in _read(archive, into):
        file = wanted.pop(name, None)
        if file is None and name not in _NOT_LISTED:
            raise ServerError(f"the backup {archive} has a file that its manifest lacks: {name}")
        if file is not None and (file.size, file.checksum) != (size, checksum):
            raise ServerError(f"the backup {archive} is damaged: {name} is not what was copied")
        yield name
    if wanted:
        raise ServerError(f"the backup {archive} is damaged: it lacks {min(wanted)}")


def extract(archive: Path, into: Path) -> None:
    """All that is in an archive of which no manifest speaks."""
    for _ in _read(archive, into):
        pass


def _read(archive: Path, into: Path | None) -> Iterator[tuple[str, int, str]]:
    """Name, size and checksum of each file in the archive, which is extracted if so wanted."""
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=packed, mode="r:") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                target = None if into is None else into / name
                if into and target and not target.resolve().is_relative_to(into.resolve()):
                    raise ServerError(f"the backup {archive} has a file outside of its folder: {name}")
                if member.isfile():
                    source = tar.extractfile(member)
                    assert source is not None
                    yield name, member.size, _copied(source, target)
                elif member.isdir() and target:
                    target.mkdir(mode=0o700, parents=True, exist_ok=True)
            while packed.read(_BLOCK):  # the end of a tar comes before the checksum of gzip
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ServerError(f"the backup {archive} cannot be read: {error}") from None


def _copied(source: IO[bytes], target: Path | None) -> str:
    """Reads all of ``source``, into a file if so wanted; its checksum."""
    digest = hashlib.sha256()
    if target is None:
        while block := source.read(_BLOCK):
            digest.update(block)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            target.chmod(0o600)
            while block := source.read(_BLOCK):
                digest.update(block)
                file.write(block)
    return digest.hexdigest()


def _facts(url: str) -> tuple[int, int, str, list[str]]:
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            segment_bytes, user = connection.execute(
                "SELECT setting::bigint, current_user FROM pg_settings WHERE name = 'wal_segment_size'"
            ).fetchone() or (0, "")
            tablespaces = connection.execute("SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'")
            return (
                connection.info.server_version // 10_000,
                segment_bytes,
                user,
                [name for (name,) in tablespaces],
            )
    except psycopg.OperationalError as error:
        raise ServerError(cannot_connect(error)) from None
