"""The processes of the storm: started, started again when they were killed, brought to an end."""

import multiprocessing
import time
from multiprocessing.process import BaseProcess
from random import Random

from tests.chaos.consumers import PlainReader, Subscriber
from tests.chaos.loads import Loader
from tests.chaos.patterns import Writer
from tests.chaos.resolver import Resolver
from tests.chaos.stage import Player, Stage, play
from tests.chaos.workers import Deriver, Refresher, Replayer


class Cast:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        # Forked off a process that has imported everything already: a kill costs little.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.chaos.cast"])
        self._parts: dict[str, type[Player]] = {
            **{f"writer-{n}": Writer for n in range(stage.plan.writers)},
            "resolver": Resolver,
            "loader-0": Loader,
            "loader-1": Loader,
            "subscriber-0": Subscriber,
            "subscriber-1": Subscriber,
            "plain-0": PlainReader,
            "plain-1": PlainReader,
            "refresher-0": Refresher,
            "refresher-1": Refresher,
            "replayer": Replayer,
            "deriver": Deriver,
        }
        self._lives = dict.fromkeys(self._parts, 0)
        self._processes: dict[str, BaseProcess] = {}
        for role in self.roles():
            stage.flag(role).touch()
        for name in self._parts:
            self._start(name)

    def roles(self) -> set[str]:
        return {part.role for part in self._parts.values()}

    def _start(self, name: str) -> None:
        process = self._context.Process(
            target=play, args=(self._parts[name], self._stage, f"{name}.{self._lives[name]}"), name=name
        )
        self._lives[name] += 1
        process.start()
        self._processes[name] = process

    def kill_one(self, chance: Random) -> str:
        """kill -9; its successor goes on. Returns whom it hit."""
        name = chance.choice(sorted(self._processes))
        self.restart(name)
        return self._parts[name].role

    def restart(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].join()
        self._start(name)

    def dead(self) -> list[str]:
        """Who ended without having been told to."""
        return [name for name, process in self._processes.items() if not process.is_alive()]

    def end(self, role: str) -> list[str]:
        """Tell those of a role to end; returns who did not."""
        self._stage.flag(role).unlink(missing_ok=True)
        names = [name for name, part in self._parts.items() if part.role == role]
        deadline = time.monotonic() + self._stage.plan.patience_s
        for name in names:
            self._processes[name].join(max(0.1, deadline - time.monotonic()))
        stuck = [name for name in names if self._processes[name].is_alive()]
        for name in names:
            self._processes.pop(name).kill()
        return stuck

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()
