"""One ``make up`` for a home folder: a lock that goes with the process that holds it, however that ends."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.kernel.moments import moment
from eventstore.server.errors import ServerError

#: In the environment of all that runs below a ``make up``: the home folder.
MARK = "EVENTSTORE_UP"

_NAME = "up.lock"


@dataclass(frozen=True)
class Holder:
    """Who runs: what it wrote into the file that it holds locked."""

    pid: int
    since: str
    url: str


class AlreadyRunningError(Exception):
    """Another ``make up`` holds the home folder; one line that says which."""


def refuse_a_second(home: Path) -> None:
    """Raise if another process holds ``home``; makes and changes nothing."""
    try:
        descriptor = os.open(home / _NAME, os.O_RDWR)
    except OSError:
        return  # nobody ever was here; or only hold() can say what is wrong
    try:
        _lock(descriptor, home)
    finally:
        os.close(descriptor)


@contextmanager
def hold(home: Path, url: str) -> Iterator[None]:
    """Hold ``home`` for as long as the context lasts. Children do not inherit the lock."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home / _NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ServerError(
            f"cannot write to {home} ({error.strerror}); set EVENTSTORE_HOME to a folder of yours"
        ) from None
    try:
        _lock(descriptor, home)
        _write(descriptor, Holder(os.getpid(), f"{moment(datetime.now(UTC))}", url))
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, home: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        who = f"pid {holder.pid}, since {holder.since}, {holder.url}" if holder else "it is just starting"
        raise AlreadyRunningError(f"make up runs already in {home}: {who}") from None


def _write(descriptor: int, holder: Holder) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)


@retry(
    retry=retry_if_result(lambda holder: holder is None),
    wait=wait_fixed(0.05),
    stop=stop_after_delay(1),
    retry_error_callback=lambda _state: None,
)
def _holder(descriptor: int) -> Holder | None:
    """None while the file is being written, or was written by another release."""
    try:
        return Holder(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return None
