"""What consumers were shown: there for ever, also after a crash; and each event to each of them, in order."""

from collections.abc import Iterator
from pathlib import Path

from tests.chaos.findings import Findings, say
from tests.chaos.journal import files, records, whole_lines
from tests.chaos.server import Server
from tests.chaos.stage import Connection

_MISSING = """
    SELECT s.id::text FROM unnest(%s::uuid[]) s (id)
     WHERE NOT EXISTS (SELECT FROM order_events e WHERE e.id = s.id)
"""


class ShownSoFar:
    """Looks after each crash whether what was shown before it is still there."""

    def __init__(self, folder: Path, server: Server, findings: Findings) -> None:
        self._folder, self._server, self._findings = folder, server, findings
        self._read: dict[Path, int] = {}

    def check_after_crash(self, number: int, how: str) -> None:
        with self._server.connect() as connection:
            for path in files(self._folder, "shown"):
                gone = list(self._gone(connection, path))
                for event_id in gone:
                    self._findings.add(
                        "shown to a consumer before a crash, gone after it",
                        f"crash {number} ({how}): event {event_id}, shown to {path.name}",
                    )
                if gone:
                    say(f"crash {number} ({how}) took back {len(gone)} events that {path.name} was shown")

    def _gone(self, connection: Connection, path: Path) -> Iterator[str]:
        for lines in whole_lines(path, self._read.get(path, 0)):
            self._read[path] = self._read.get(path, 0) + len(lines)
            ids = [line.split(b"\t")[1].decode() for line in lines.splitlines()]
            self._findings.checked["shown events looked for after crashes"] += len(ids)
            for (event_id,) in connection.execute(_MISSING, (ids,)):
                yield event_id


def check_consumers(connection: Connection, folder: Path, findings: Findings) -> None:
    """Each consumer has seen the whole log, each event after the one before it, some again after a kill."""
    by_consumer: dict[str, list[Path]] = {}
    for path in files(folder, "shown"):
        by_consumer.setdefault(path.stem, []).append(path)
    for consumer, paths in by_consumer.items():
        _check_consumer(connection, consumer, paths, findings)


def _check_consumer(connection: Connection, consumer: str, paths: list[Path], findings: Findings) -> None:
    highest = ""
    with connection.transaction(), connection.cursor(name="feed") as log:
        log.itersize = 5000
        log.execute("SELECT id::text FROM chaos.log ORDER BY id")
        ids = (event_id for (event_id,) in log)
        ahead = next(ids, None)
        for path in paths:
            for _, event_id, order_id, version in records(path):
                findings.checked["events shown to consumers, in order"] += 1
                if event_id <= highest:
                    continue  # again; whether it is in the log is asked elsewhere
                highest = event_id
                while ahead is not None and ahead < event_id:
                    findings.add("passed over by a consumer", f"{consumer} never saw event {ahead}")
                    ahead = next(ids, None)
                if ahead == event_id:
                    ahead = next(ids, None)
                else:
                    what = f"{consumer} saw event {event_id}, version {version} of order {order_id}"
                    findings.add("shown to a consumer, not in the log", what)
        while ahead is not None:
            findings.add("never shown to a consumer", f"{consumer} never saw event {ahead}")
            ahead = next(ids, None)


def end_of_feed(folder: Path) -> dict[str, str]:
    """The highest id that each consumer was shown."""
    highest: dict[str, str] = {}
    for path in files(folder, "shown"):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 1000))
            for line in file.read().splitlines():
                fields = line.decode().split("\t")
                if len(fields) == 4:
                    highest[path.stem] = max(highest.get(path.stem, ""), fields[1])
    return highest
