"""While the database works on one chunk, the next one is parsed: what fails meanwhile takes it along."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventstore.ingestion import load
from eventstore.ingestion.formats.cloudevents import CloudEvents
from eventstore.kernel.incoming import Line, Proposed
from eventstore.log.connection import open_connection
from eventstore.orders.events import EVENTS
from tests.shipped import ingest

Connection = psycopg.Connection[Any]
Make = Callable[..., bytes]

_CHUNK = 4
#: The trigger waits for it until the chunk after its own is parsed.
_PARSED = 4711


class Telling(CloudEvents):
    """Gives a lock up when it has parsed a line, while another session waits for it."""

    def __init__(self, holder: Connection, line: int) -> None:
        self.holder, self.line = holder, line

    def propose(self, record: Line) -> Proposed:
        if record.number == self.line:
            self.holder.execute("SELECT pg_advisory_unlock(%s)", (_PARSED,))
        return super().propose(record)


@pytest.fixture
def holder(database_url: str) -> Iterator[Connection]:
    with open_connection(database_url) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_PARSED,))
        yield connection


@pytest.mark.parametrize(
    "fails",
    [
        "RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'",
        "PERFORM pg_terminate_backend(pg_backend_pid())",
    ],
    ids=["an error", "a lost connection"],
)
def test_a_chunk_that_was_parsed_is_dropped_when_the_one_before_it_fails(
    fails: str,
    holder: Connection,
    connection: Connection,
    database_url: str,
    event: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = str(uuid4())
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(event(subject=order, id=str(n)) for n in range(4 * _CHUNK)))
    connection.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF EXISTS (SELECT FROM rows WHERE source_id = '{_CHUNK}') THEN "
        f"PERFORM pg_advisory_xact_lock({_PARSED}); {fails}; END IF; RETURN NULL; END $$; "
        "CREATE TRIGGER fail AFTER INSERT ON order_events REFERENCING NEW TABLE AS rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION fail()"
    )
    monkeypatch.setattr(load, "_CHUNK_LINES", _CHUNK)
    with pytest.raises(psycopg.OperationalError):
        load.ingest(database_url, EVENTS, [Telling(holder, 3 * _CHUNK)], [path])
    recorded = "SELECT array_agg(source_id::int ORDER BY version) FROM order_events"
    assert connection.execute(recorded).fetchone() == (list(range(_CHUNK)),)
    assert connection.execute("SELECT count(*) FROM ingested_files").fetchone() == (0,)

    connection.execute("DROP TRIGGER fail ON order_events")
    done = ingest(database_url, [path])
    assert (done.appended, done.duplicates) == (3 * _CHUNK, _CHUNK)
    assert connection.execute(recorded).fetchone() == (list(range(4 * _CHUNK)),)
