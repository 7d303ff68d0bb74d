"""A client that appends, and journals what it sent, what it was told, and what became of each transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID
from zlib import crc32

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.chaos.happenings import Event, happening, order_named, sent_line
from tests.chaos.stage import Player, Stage

#: Wrong version, deadlock: refused, nothing happened.
_REFUSED = {"ES001", "40P01"}
_TOO_MANY_PREPARED = "53200"
_APPEND = "SELECT id, version FROM append_events(%s, %s, %s)"
_WINDOW = 150


def is_to_commit(gid: str) -> bool:
    """What becomes of a prepared transaction: whoever asks, before or after a crash, decides alike."""
    return crc32(gid.encode()) % 4 > 0


class Transaction:
    def __init__(self, client: "Client", name: str) -> None:
        self._client, self.name = client, name
        self.ending = "commit"  #: or "rollback", "prepare"

    def append(self, order_id: UUID, events: list[Event], expected: int | None = None) -> None:
        client = self._client
        tags = [event["data"]["tag"] for event in events]
        client.sent.write(*(sent_line(event["data"]["tag"], self.name, order_id, event) for event in events))
        rows = client.connection.execute(_APPEND, (order_id, Jsonb(events), expected)).fetchall()
        client.recorded.write(
            *(
                (tag, self.name, order_id, version, event_id)
                for tag, (event_id, version) in zip(tags, rows, strict=True)
            )
        )

    @contextmanager
    def undone(self) -> Iterator["Transaction"]:
        """A savepoint that is rolled back, whatever becomes of the rest."""
        part = Transaction(self._client, f"{self.name} savepoint")
        self._client.outcome.write((part.name, "undone"))
        self._client.connection.execute("SAVEPOINT part")
        yield part
        self._client.connection.execute("ROLLBACK TO SAVEPOINT part")


class Client(Player):
    """What patterns are made of."""

    role = "writer"

    def __init__(self, stage: Stage, process: str) -> None:
        super().__init__(stage, process)
        self.sent, self.recorded, self.outcome = map(self.journal, ("sent", "recorded", "outcome"))
        self.owed: list[tuple[UUID, Event]] = []  #: to be sent until they are acknowledged
        self._number = self._tags = 0
        self.pattern = ""

    def send_owed(self) -> None:
        """With another tag each time, so that the journals tell what came of which."""
        while self.owed:
            order_id, event = self.owed[-1]
            tagged = event | {"data": event["data"] | {"tag": self.event()["data"]["tag"]}}
            if self.alone(order_id, [tagged]):
                self.owed.pop()

    def event(self, **more: object) -> Event:
        self._tags += 1
        return happening(self.plan, self.chance, f"{self.process}/{self._tags}") | more

    def events(self, most: int) -> list[Event]:
        return [self.event() for _ in range(self.chance.randint(1, most))]

    def order(self) -> UUID:
        """Mostly one of those that all writers are at, some of these very busy; now and then an old one."""
        era = self._number // 100 * _WINDOW
        among = range(era, era + _WINDOW)
        [among] = self.chance.choices((among, among[:8], range(era + 1)), (6, 3, 1))
        return order_named(self.plan, str(self.chance.choice(among)))

    def version_of(self, order_id: UUID) -> int:
        row = self.connection.execute(
            "SELECT coalesce(max(version), 0) FROM order_events WHERE order_id = %s", (order_id,)
        ).fetchone()
        return row[0] if row else 0

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """BEGIN, what is appended, and the ending that was chosen; refused is refused."""
        tx = self._next()
        flush, flush_last = self._flushes()
        self.connection.execute("BEGIN")
        self._set_flush("LOCAL", flush)
        try:
            yield tx
            self._set_flush("LOCAL", flush_last)
        except psycopg.Error as error:
            self.outcome.write((tx.name, "undone"))  # COMMIT was never sent
            if error.sqlstate not in _REFUSED:
                raise
            self.connection.execute("ROLLBACK")
            return
        if tx.ending == "rollback":
            self.outcome.write((tx.name, "undone"))
            self.connection.execute("ROLLBACK")
        elif tx.ending == "prepare":
            try:
                self.connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(tx.name))
            except psycopg.Error as error:
                if error.sqlstate != _TOO_MANY_PREPARED:
                    raise
            else:
                self.outcome.write((tx.name, "prepared"))
        else:
            self.connection.execute("COMMIT")
            self.outcome.write((tx.name, "acknowledged"))

    def alone(self, order_id: UUID, events: list[Event], expected: int | None = None) -> bool:
        """Append in one statement that is a transaction by itself; False where it was refused."""
        tx = self._next()
        self._set_flush("SESSION", self._flushes()[0])
        try:
            tx.append(order_id, events, expected)
        except psycopg.Error as error:
            if error.sqlstate in _REFUSED:
                self.outcome.write((tx.name, "undone"))
                return False
            raise
        self.outcome.write((tx.name, "acknowledged"))
        return True

    def _next(self) -> Transaction:
        self._number += 1
        return Transaction(self, f"{self.pattern} {self.process}/{self._number}")

    def _flushes(self) -> tuple[str, str]:
        """synchronous_commit before the appends, and after them."""
        if not self.plan.unflushed:
            return self.chance.choice(("on", "on", "local")), ""
        chosen = "off" if self.stage.is_calm else self.chance.choice(("on", "local", "off"))
        if chosen == "off" and self.plan.unflushed_last:
            return "on", "off"
        return chosen, ""

    def _set_flush(self, scope: str, value: str) -> None:
        if value:
            self.connection.execute(f"SET {scope} synchronous_commit TO {value}")
