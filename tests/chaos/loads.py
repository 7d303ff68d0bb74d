"""Loads of files that are killed and run again until they are through."""

import time
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from tests.chaos.happenings import Event, as_cloudevent, happening, order_named, sent_line
from tests.chaos.stage import Player, Stage
from tests.shipped import ingest

_CONTENTION = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


class Loader(Player):
    """Each has a folder of its own. A file is there until it is known to be in the log."""

    role = "loader"

    def __init__(self, stage: Stage, process: str) -> None:
        super().__init__(stage, process)
        self._sent, self._outcome = self.journal("sent"), self.journal("outcome")
        self._landing = stage.folder / "landing" / self.name
        self._landing.mkdir(parents=True, exist_ok=True)
        self._number = self._lines = 0

    def act(self) -> None:
        if self.stage.is_calm:
            time.sleep(0.1)
            return
        for path in sorted(self._landing.glob("*.ndjson")) or [self._write_file()]:
            try:
                found = ingest(self.stage.url, [path])
            except _CONTENTION:
                self.done("gave up for contention, to be run again")
                return
            self._outcome.write((_transaction(path), "acknowledged"))
            path.unlink()
            self.done("file")
            for what, count in (("duplicates", found.duplicates), *found.rejects_by_reason.items()):
                if count:
                    self.done(f"file with {what}")
        time.sleep(self.chance.random() * self.plan.seconds_between_files)

    def _write_file(self) -> Path:
        self._number += 1
        path = self._landing / f"{self.process}-{self._number}.ndjson"
        orders = [order_named(self.plan, f"of {path.name} {n // 12}") for n in range(self.plan.file_lines)]
        orders += [order_named(self.plan, str(n)) for n in range(50)]
        sent: list[tuple[Any, ...]] = []
        lines: list[bytes] = []
        for number in range(self.chance.randint(1, self.plan.file_lines)):
            tag = f"{path.name}/{number}"
            event = happening(self.plan, self.chance, tag, from_file=True)
            order = self.chance.choice(orders)
            if self.chance.random() < 0.1:
                order = self._long_order(event)
            event |= {"source": "/chaos/file", "source_id": tag}
            if self.chance.random() < 0.02:
                event |= {"source": "/chaos/shared", "source_id": str(self.chance.randrange(5))}
            sent.append(sent_line(tag, _transaction(path), order, event))
            lines.append(as_cloudevent(order, event))
            if self.chance.random() < 0.03:
                lines.append(self.chance.choice(lines[-20:]))  # sent twice
        self._sent.write(*sent)
        hidden = path.with_name(f".{path.name}.tmp")
        hidden.write_bytes(b"".join(lines))
        return hidden.rename(path)

    def _long_order(self, event: Event) -> UUID:
        """One with hundreds of events, mostly in the order of their times: it gets checkpoints."""
        self._lines += 1
        if self.chance.random() < 0.97:
            event.pop("created_at", None)
        return order_named(self.plan, f"long {self.name} {self._lines // 300}")


def _transaction(path: Path) -> str:
    return f"load {path.stem}"
