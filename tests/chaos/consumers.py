"""Followers of the feed. What they are shown is journaled before anything else happens."""

import time
from typing import Any
from uuid import UUID

from eventstore.log.consumers import subscribe
from tests.chaos.stage import Player, Stage


class Consumer(Player):
    role = "consumer"

    def __init__(self, stage: Stage, process: str) -> None:
        super().__init__(stage, process)
        self._shown = self.journal("shown")

    def show(self, events: list[tuple[Any, ...]]) -> None:
        self._shown.write(*((self.name, *event) for event in events))

    def pause(self, longest: float) -> None:
        time.sleep(self.chance.random() * longest)


class Subscriber(Consumer):
    """By name, in Python."""

    def act(self) -> None:
        if self.stage.is_calm:
            time.sleep(0.05)
            return
        limit = self.chance.choice((None, 10, 500))
        for event in subscribe(self.connection, self.name, follow=False, limit=limit):
            self.show([(event.id, event.order_id, event.version)])
        self.done("subscription")
        self.pause(0.3)


class PlainReader(Consumer):
    """In SQL, as a service in another language would."""

    def __init__(self, stage: Stage, process: str) -> None:
        super().__init__(stage, process)
        self._at: UUID | None = None

    def act(self) -> None:
        if self.stage.is_calm and self.name != "plain-0":
            time.sleep(0.05)
            return
        if self._at is None:
            row = self.connection.execute(
                "SELECT watermark FROM consumers WHERE name = %s", (self.name,)
            ).fetchone()
            self._at = row[0] if row else UUID(int=0)
        calm = self.stage.is_calm
        self.connection.execute("SELECT publish_horizon()")
        self.pause(0.2)
        if calm:
            time.sleep(0.4)  # what was open when it published has been committed by now, and not flushed
        events = self.connection.execute(
            "SELECT id, order_id, version FROM read_events(%s, %s)",
            (self._at, 100_000 if calm else self.chance.choice((20, 300, 1000))),
        ).fetchall()
        self.show(events)
        self.pause(0.1)
        while calm and self.stage.is_calm and self.running:
            time.sleep(0.01)  # nor does this one flush anything now
        if events:
            self._at = events[-1][0]
            self.connection.execute("SELECT save_watermark(%s, %s)", (self.name, self._at))
            self.done("page")
