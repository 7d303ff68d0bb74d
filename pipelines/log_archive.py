"""The archive of the write-ahead log, as a process that `make up` looks after."""

import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread

from eventstore.server import settings
from eventstore.server.backup import base_backup, catalogue, wal_archive
from eventstore.server.errors import ServerError
from pipelines.log_file import LogFile
from pipelines.supervision import Say, Service

_COMPRESS_S = 60


class LogArchive:
    """Receives the log of the server, and compresses what is complete.

    Where the role may not, it says so once: then there are dumps, and nothing after them.
    """

    def __init__(
        self, url: str, backups: Path, environment: Mapping[str, str], log: LogFile, say: Say
    ) -> None:
        self._backups, self._say = backups, say
        self._service: Service | None = None
        self._end = Event()
        try:
            base_backup.identity(url)
        except ServerError as error:
            say(f"{error}. So there are dumps every night, and nothing after the last one.")
            return
        if settings.embedded_home():
            wal_archive.bound_what_is_kept(url)
        self._service = Service(
            "log archive",
            [sys.executable, "-m", "eventstore.server.backup.receive"],
            lambda _: True,
            patience=60,
            environment=environment,
            folder=settings.dagster_home(),
            log=log,
            say=say,
            of="The",
        )
        Thread(target=self._compress, daemon=True, name="log archive").start()

    def keep(self, *, may_start: bool) -> None:
        """Look after it, a few times a second."""
        if self._service:
            self._service.keep(may_start=may_start)

    def interrupt(self) -> None:
        self._end.set()
        if self._service:
            self._service.interrupt()

    def end(self, patience: float) -> None:
        if self._service:
            self._service.end(patience)

    def _compress(self) -> None:
        told = ""
        while not self._end.wait(_COMPRESS_S):
            try:
                for folder in self._backups.glob(f"*/{catalogue.WAL}"):
                    wal_archive.compress(folder)
            except (ServerError, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    self._say(f"The archived log cannot be compressed: {told}")


def stop_keeping(url: str, say: Say) -> None:
    """Where no archive is wanted any more: the server need not keep its log for one."""
    if wal_archive.keep_no_more(url):
        say("No backups are wanted (EVENTSTORE_BACKUPS): the server keeps its log for them no more.")
