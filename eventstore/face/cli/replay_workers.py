"""Buckets replayed side by side, by processes of one command.

Each holds one end of a pipe, the command the other: however one ends, the other notices. A bucket commits by
itself, so one that was under way is as if it had not begun, and those that stand stay.
"""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection as pipes
from multiprocessing import get_context, resource_tracker
from typing import Any, TypeAlias, cast

import psycopg

from eventstore.engine.projection import Projection
from eventstore.engine.replay import BucketReplayed, replay_bucket
from eventstore.face.store import connect
from eventstore.kernel.folding import Folding
from eventstore.log.errors import EventStoreError
from eventstore.log.outages import refusal
from eventstore.orders.domain import DOMAIN
from eventstore.server.errors import ServerError

_Pipe: TypeAlias = "pipes.Connection[Any, Any]"


class WorkerError(EventStoreError):
    """A worker could not go on, or is gone."""


class Workers:
    """Processes that wait for buckets to replay."""

    def __init__(self, ends: list[_Pipe]) -> None:
        self._ends = ends

    def replay(
        self,
        projection: Projection[Any],
        folding: Folding,
        buckets: Iterable[int],
        on_progress: Callable[[int], None],
    ) -> Iterator[BucketReplayed]:
        """Each of the buckets when it stands. Raises WorkerError where one does not come to that."""
        waiting = deque(buckets)
        at_work = []
        for end in self._ends[: len(waiting)]:
            self._send(end, (projection.name, folding.version, waiting.popleft()))
            at_work.append(end)
        while at_work:
            for end in cast(list[_Pipe], pipes.wait(at_work)):
                said = _received(end)
                if isinstance(said, int):
                    on_progress(said)
                    continue
                if isinstance(said, str):
                    raise WorkerError(said)
                if waiting:
                    self._send(end, (projection.name, folding.version, waiting.popleft()))
                else:
                    at_work.remove(end)
                yield said

    def _send(self, end: _Pipe, task: tuple[str, str, int]) -> None:
        try:
            end.send(task)
        except OSError:
            raise _gone() from None


@contextmanager
def replay_workers(url: str, number: int) -> Iterator[Workers]:
    """So many workers for the store at ``url``; gone at the end, whatever they are at."""
    context = get_context("spawn")
    processes, ends = [], []
    try:
        for _ in range(number):
            here, there = context.Pipe()
            ends.append(here)
            process = context.Process(target=_work, args=(url, there), daemon=True)
            with _ctrl_c_is_for_the_command():
                process.start()
            processes.append(process)
            there.close()
        yield Workers(ends)
    finally:
        for end in ends:
            end.close()
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


@contextmanager
def _ctrl_c_is_for_the_command() -> Iterator[None]:
    """Processes that are started within never see it; the command gets it, a moment later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _received(end: _Pipe) -> int | str | BucketReplayed:
    try:
        said: int | str | BucketReplayed = end.recv()
    except (EOFError, OSError):
        raise _gone() from None
    return said


def _gone() -> WorkerError:
    return WorkerError("a worker of the replay is gone: killed, or out of memory")


def _work(url: str, end: _Pipe) -> None:
    """Replay the buckets that are asked for, until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            with connect(url) as store, store.connection() as connection:
                while True:
                    name, rules, bucket = end.recv()
                    projection = DOMAIN.projection(name)
                    folding = projection.folding(rules)
                    done = replay_bucket(
                        connection, bucket, projection, end.send, folding=folding, for_preview=True
                    )
                    end.send(done)
        except (EventStoreError, ServerError) as error:
            end.send(str(error))
        except psycopg.Error as error:
            end.send(refusal(error))
