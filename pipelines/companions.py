"""What `make up` runs beside Dagster: follower, log archive, and who tells replicas the horizon."""

from collections.abc import Mapping

from eventstore.server import settings
from pipelines.follower_service import follower_service
from pipelines.horizon_keeper import HorizonKeeper
from pipelines.log_archive import LogArchive, stop_keeping
from pipelines.log_file import LogFile
from pipelines.supervision import Say

_END_S = 15


class Companions:
    """All of them, whichever are wanted."""

    def __init__(
        self, url: str, environment: Mapping[str, str], log: LogFile, say: Say, *, follow: bool
    ) -> None:
        backups = settings.backups()
        self._horizon = HorizonKeeper(url, backups)
        follower = follower_service(url, environment, log, say) if follow else None
        archive = LogArchive(url, backups, environment, log, say) if backups else None
        self._services = [one for one in (follower, archive) if one]
        if archive is None:
            stop_keeping(url, say)

    def start(self) -> None:
        self._horizon.start()

    def keep(self, *, may_start: bool) -> None:
        """Look after them, a few times a second."""
        for one in self._services:
            one.keep(may_start=may_start)

    def interrupt(self) -> None:
        """Ask them to stop, in their own time."""
        self._horizon.end()
        for one in self._services:
            one.interrupt()

    def end(self) -> None:
        """Wait for them for a while, then end them."""
        for one in self._services:
            one.end(_END_S)
