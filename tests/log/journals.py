"""Writers that keep a journal of what was acknowledged to them, and go on when a server is killed."""

import random
import threading
import time
from pathlib import Path
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

_PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}
_ORDERS = [UUID(int=number) for number in range(1, 41)]


def write_until(stop: Path, url: str, journal: Path, threads: int, seed: int) -> None:
    """Appends by several sessions until the file ``stop`` exists; a line per id that was acknowledged."""
    workers = [
        threading.Thread(
            target=_work, args=(stop, url, journal.with_suffix(f".{number}"), seed * 100 + number)
        )
        for number in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def acknowledged(folder: Path) -> set[UUID]:
    return {UUID(line) for file in folder.glob("journal*.*") for line in file.read_text().splitlines()}


def _work(stop: Path, url: str, journal: Path, seed: int) -> None:
    chance = random.Random(seed)
    with journal.open("w") as file:
        while not stop.exists():
            try:
                with psycopg.connect(url, connect_timeout=5) as connection:
                    while not stop.exists():
                        for event_id in _transaction(connection, chance):
                            file.write(f"{event_id}\n")
                        file.flush()
            except psycopg.Error as error:
                # The server is gone, starts, or saw a deadlock; a replica that took over says ES004.
                assert error.sqlstate in {None, "57P01", "57P02", "57P03", "40P01", "ES004"}, error
                time.sleep(0.05)


def _transaction(connection: psycopg.Connection, chance: random.Random) -> list[UUID]:
    """Open for a while between its appends; what a commit acknowledged."""
    appended: list[UUID] = []
    for _ in range(chance.choice([1, 1, 2, 3])):
        rows = connection.execute(
            "SELECT id FROM append_events(%s, %s)",
            (chance.choice(_ORDERS), Jsonb([_PAID] * chance.choice([1, 1, 3]))),
        ).fetchall()
        appended += [event_id for (event_id,) in rows]
        time.sleep(chance.choice([0, 0.002, 0.01, 0.03]))
    if chance.random() < 0.15:
        connection.rollback()
        return []
    connection.commit()
    return appended
