"""A server of any version for a data folder that nobody else uses: to recover it, and to look at it."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

from eventstore.server import cluster
from eventstore.server.backup.programs import arguments_of, server_folder
from eventstore.server.errors import ServerError

_POLL_S = 0.05
_STOP_S = 300
_SAY_S = 10

Say = Callable[[str], None]


@contextmanager
def serving(
    data: Path, version: int, user: str, settings: Mapping[str, str], say: Say
) -> Iterator[Callable[[str], str]]:
    """Serve the folder until the block is left; gives the URL of a database by its name.

    It listens on a socket that only its owner reaches, whatever the configuration in the folder says. The
    block begins when recovery has ended. Raises ServerError with what the server said when it gave up.
    """
    access, log = data / "restore_hba.conf", data / "restore.log"
    access.write_text("local all all trust\n")
    access.chmod(0o644)  # the folder keeps others out
    socket = cluster.socket_folder(data)
    options = {
        "listen_addresses": "",
        "port": str(cluster.PORT),
        "unix_socket_directories": "",  # -k names it: this setting would split its path at a comma
        "hba_file": str(access),
        "archive_mode": "off",
        "primary_conninfo": "",
        "shared_preload_libraries": "",
        "ssl": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_min_messages": "log",
        "hot_standby": "off",  # so that it may have fewer connections than the server had
    }
    command: list[str | Path] = [
        server_folder(version) / "postgres",
        "-D",
        data,
        *arguments_of({**options, **settings}),
    ]
    with log.open("wb") as output:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [*command, "-k", socket],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **cluster.as_owner_of(data),
        )
    try:

        def url(database: str) -> str:
            where = f"host={quote(str(socket))}&port={cluster.PORT}"
            return f"postgresql://{quote(user)}@/{quote(database, safe='')}?{where}"

        _wait(process, url("postgres"), log, say)
        yield url
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # a fast shutdown
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        cluster.remove_socket_folder(data)
        for path in (access, log):
            path.unlink(missing_ok=True)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, say: Say) -> None:
    begin = told_at = time.monotonic()
    while True:
        if process.poll() is not None:
            raise ServerError(_reason(log.read_text(errors="replace")))
        with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5) as connection:
            if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,):
                return
        if time.monotonic() - told_at > _SAY_S:
            told_at = time.monotonic()
            say(f"replaying the log, for {told_at - begin:.0f} s …")
        time.sleep(_POLL_S)


def _reason(said: str) -> str:
    lines = said.splitlines()
    fatal = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    return "; ".join(fatal) or " ".join(lines[-3:]) or "it said nothing"
