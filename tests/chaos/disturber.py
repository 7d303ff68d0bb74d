"""What goes wrong, when and how often, by a seed: crashes, kills, terminated backends, a jumping clock."""

import time
from collections import Counter
from random import Random

import psycopg

from tests.chaos.cast import Cast
from tests.chaos.server import Server
from tests.chaos.shown import ShownSoFar
from tests.chaos.stage import Stage, is_disturbance

_JUMPS_MS = (-7_200_000, -60_000, -2_000, -300, 0, 300, 2_000, 60_000)
_CALM_S = 1.5


class Disturber:
    def __init__(self, stage: Stage, server: Server, cast: Cast, shown: ShownSoFar) -> None:
        self._stage, self._server, self._cast, self._shown = stage, server, cast, shown
        self._chance = Random(f"{stage.plan.seed} disturber")
        self.crashes = 0
        self._due = {
            self.terminate_a_backend: 0.7,
            self.kill_a_process: 1.5,
            self.jump_anywhere: 1.0,
        }
        self._next = {
            act: time.monotonic() + self._chance.random() * often for act, often in self._due.items()
        }
        self.done: Counter[str] = Counter()
        self.recoveries: list[float] = []  #: how many seconds each took

    def disturb(self, progress: float) -> None:
        """Whatever is due by now; ``progress`` of the storm is between 0 and 1."""
        if progress >= (self.crashes + 0.5) / max(1, self._stage.plan.crashes):
            self.crash()
        for act, at in self._next.items():
            if time.monotonic() > at:
                act()
                self._next[act] = time.monotonic() + self._chance.expovariate(1 / self._due[act])

    def crash(self) -> None:
        self.crashes += 1
        if self._stage.plan.unflushed and self.crashes % 3:
            self.jump(1000)  # while the clock is behind what was published, consumers see flushed events only
            self._stage.flag("calm").touch()
            time.sleep(_CALM_S)
        how = self._server.crash(self._chance)
        self._stage.flag("calm").unlink(missing_ok=True)
        self.recoveries.append(self._server.start())
        self.done[f"crash: {how}"] += 1
        self._shown.check_after_crash(self.crashes, how)

    def kill_a_process(self) -> None:
        self.done[f"kill -9 of a {self._cast.kill_one(self._chance)}"] += 1

    def terminate_a_backend(self) -> None:
        with self._server.connect() as connection:
            pids = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
                "AND pid <> pg_backend_pid() AND datname = current_database()"
            ).fetchall()
            if pids:
                connection.execute("SELECT pg_terminate_backend(%s)", self._chance.choice(sorted(pids)))
                self.done["pg_terminate_backend"] += 1

    def jump_anywhere(self) -> None:
        self.jump(self._chance.choice(_JUMPS_MS))

    def jump(self, by_ms: int) -> None:
        try:
            with self._server.connect() as connection:
                self._server.jump(connection, by_ms)
        except psycopg.Error as error:
            if not is_disturbance(error):
                raise
        self.done["clock jump"] += 1
