"""What every process of the cast is given: where things are, whether the storm lasts, how to connect."""

import logging
import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from eventstore.log.connection import prepare
from eventstore.log.errors import ConsumerBusyError, DatabaseUnavailableError
from eventstore.log.outages import state_of
from tests.chaos.journal import Journal
from tests.chaos.plan import Plan

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Stage:
    """Flags are files: what a killed process could have locked would lock all the others."""

    folder: Path
    url: str
    plan: Plan

    def flag(self, name: str) -> Path:
        return self.folder / f"{name}.flag"

    @property
    def is_calm(self) -> bool:
        """Nothing but clients that commit without a flush, and one consumer: the hour of lost commits."""
        return self.flag("calm").exists()


class Player:
    """A process of the cast."""

    role = "player"

    def __init__(self, stage: Stage, process: str) -> None:
        self.stage, self.process, self.plan = stage, process, stage.plan
        self.name = process.rpartition(".")[0]
        self.chance = Random(f"{stage.plan.seed} {process}")
        self._parent = os.getppid()
        self._done = self.journal("done")
        self.connection: Connection

    def journal(self, kind: str) -> Journal:
        return Journal(self.stage.folder, kind, self.process)

    def done(self, what: str) -> None:
        """Count it for the report."""
        self._done.write((self.role, what))

    @property
    def running(self) -> bool:
        return self.stage.flag(self.role).exists() and os.getppid() == self._parent

    def act(self) -> None:
        """Do one thing. It may fail in every way that a disturbed connection fails."""
        raise NotImplementedError

    def run(self) -> None:
        """Act until the storm is over; a lost connection is made anew, any other error is written down."""
        while self.running:
            try:
                with psycopg.connect(
                    self.stage.url, autocommit=True, application_name=self.name
                ) as connection:
                    prepare(connection)
                    self.connection = connection
                    while self.running:
                        self.act()
            except Exception as error:
                if not is_disturbance(error):
                    self.journal("trouble").write((self.process, traceback.format_exc()))
                time.sleep(0.05)


def is_disturbance(error: Exception) -> bool:
    """Whether it says that the server or the connection went away, as it must be expected to here."""
    if isinstance(error, DatabaseUnavailableError | ConsumerBusyError | psycopg.InterfaceError):
        return True
    if not isinstance(error, psycopg.OperationalError):
        return False
    state = state_of(error)
    return state is None or state.startswith(("57P", "08"))


def play(player: type[Player], stage: Stage, process: str) -> None:
    """The body of a process."""
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # that connections are lost is no news here
    player(stage, process).run()
