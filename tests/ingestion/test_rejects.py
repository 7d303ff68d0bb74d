"""Rejects: what is kept, how it is listed, and what a retry does."""

import gzip
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventstore.ingestion import rejects
from eventstore.ingestion.lines import MAX_LINE
from eventstore.ingestion.load import Ingested
from eventstore.ingestion.rejects import Retried, count_by_reason, list_rejects
from eventstore.kernel.codec import Codec, PayloadError
from eventstore.kernel.events import Event
from eventstore.orders.events import EVENTS
from tests.engine.standing import before_call
from tests.shipped import FORMATS, retry

Connection = psycopg.Connection[Any]
Make = Callable[..., bytes]
Run = Callable[..., Ingested]


def counts(done: Retried) -> tuple[int, int, int, int]:
    return done.read, done.appended, done.duplicates, done.rejected


def test_rejects_are_listed_with_all_that_is_known_of_them(
    connection: Connection, event: Make, ingest_bytes: Run
) -> None:
    ingest_bytes(b"\n".join([event(), b"\xff\x00 nonsense", event(type="OrderTeleported")]), "a.ndjson")
    ingest_bytes(b"nonsense", "b.ndjson")
    first, second, third = list_rejects(connection)
    assert (first.line, first.reason, first.raw, first.raw_bytes) == (2, "not_utf8", b"\xff\x00 nonsense", 11)
    assert first.file.endswith("/a.ndjson")
    assert first.detail == "invalid start byte at byte 0"
    assert first.resolved_at is None
    assert "OrderTeleported" in second.detail
    assert (third.line, third.reason) == (1, "not_json")
    assert list_rejects(connection, file=third.file) == [third]
    assert list_rejects(connection, file="b.ndjson") == [third]
    assert list_rejects(connection, file="ndjson") == []
    assert list_rejects(connection, reason="unknown_type") == [second]
    assert list_rejects(connection, limit=1) == [first]
    assert list_rejects(connection, resolved=True) == []
    assert count_by_reason(connection) == {"not_json": 1, "not_utf8": 1, "unknown_type": 1}


def test_after_a_fix_a_retry_appends_and_resolves_what_now_passes(
    connection: Connection, event: Make, ingest_bytes: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = uuid4()
    returned = event(subject=order, type="OrderReturned", id="r", data={})
    ingest_bytes(b"\n".join([returned, b"nonsense", event(subject=order, id="p")]))
    assert counts(retry(connection)) == (2, 0, 0, 2)

    class OrderReturned(Event, frozen=True, kw_only=True):
        """The fix: code that knows the type."""

    done = rejects.retry(connection, Codec([*EVENTS.types.values(), OrderReturned]), FORMATS)
    assert counts(done) == (2, 1, 0, 1)
    assert done.rejects_by_reason == {"not_json": 1}
    recorded = "SELECT source_id, version, event_type FROM order_events ORDER BY version"
    assert connection.execute(recorded).fetchall() == [("p", 1, "OrderPaid"), ("r", 2, "OrderReturned")]
    [resolved] = list_rejects(connection, resolved=True)
    assert resolved.raw == returned
    assert resolved.resolved_at is not None
    assert count_by_reason(connection) == {"not_json": 1}
    assert counts(retry(connection)) == (1, 0, 0, 1)


def test_a_reject_that_is_in_the_log_meanwhile_is_resolved_as_a_duplicate(
    connection: Connection, event: Make, ingest_bytes: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = event()
    with monkeypatch.context() as older_code:
        older_code.delitem(EVENTS.types, "OrderPaid")
        assert ingest_bytes(line, "a.ndjson").rejects_by_reason == {"unknown_type": 1}
    assert ingest_bytes(line, "b.ndjson").appended == 1
    assert counts(retry(connection)) == (1, 0, 1, 0)
    assert count_by_reason(connection) == {}


def test_a_retry_keeps_the_newest_reason(
    connection: Connection, event: Make, ingest_bytes: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older_code:
        older_code.delitem(EVENTS.types, "OrderPaid")
        ingest_bytes(event(data={"amount": "one"}))
    assert count_by_reason(connection) == {"unknown_type": 1}
    retry(connection)
    assert count_by_reason(connection) == {"bad_payload": 1}


def test_what_was_resolved_stays_resolved_when_the_file_comes_again(
    connection: Connection, event: Make, ingest_bytes: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = event()
    with monkeypatch.context() as older_code:
        older_code.delitem(EVENTS.types, "OrderPaid")
        ingest_bytes(line)
    retry(connection)
    assert ingest_bytes(line).duplicates == 1
    assert count_by_reason(connection) == {}


def test_a_line_that_was_cut_cannot_be_retried(
    connection: Connection, event: Make, ingest_bytes: Run
) -> None:
    ingest_bytes(event() + b" " * MAX_LINE + b"x")  # its first megabyte alone would be a good event
    whole = gzip.compress(b"\n".join(event() for _ in range(100)))
    ingest_bytes(whole[:-20], "cut.ndjson.gz")
    before = list_rejects(connection)
    assert {reject.reason for reject in before} == {"too_long", "truncated_gzip"}
    assert counts(retry(connection)) == (2, 0, 0, 2)
    assert list_rejects(connection) == before


def test_the_first_line_of_a_file_is_retried_without_its_byte_order_mark(
    connection: Connection, event: Make, ingest_bytes: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older_code:
        older_code.delitem(EVENTS.types, "OrderPaid")
        ingest_bytes(b"\xef\xbb\xbf" + event())
    assert counts(retry(connection)) == (1, 1, 0, 0)


def test_many_rejects_are_retried_batch_by_batch_in_the_order_of_their_lines(
    connection: Connection, event: Make, ingest_bytes: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = uuid4()
    with monkeypatch.context() as older_code:
        older_code.delitem(EVENTS.types, "OrderPaid")
        ingest_bytes(b"\n".join(event(subject=order, id=str(n)) for n in range(25)))
    monkeypatch.setattr(rejects, "_BATCH_LINES", 10)
    assert counts(retry(connection)) == (25, 25, 0, 0)
    rows = connection.execute("SELECT source_id FROM order_events ORDER BY version").fetchall()
    assert [source_id for (source_id,) in rows] == [str(n) for n in range(25)]


def test_a_retry_leaves_out_only_what_the_database_refuses(
    connection: Connection, event: Make, ingest_bytes: Run
) -> None:
    connection.execute("ALTER TABLE order_events ADD CONSTRAINT closed CHECK (source_id <> 'a') NOT VALID")
    connection.execute("ALTER TABLE order_events ADD CONSTRAINT shut CHECK (source_id <> 'b') NOT VALID")
    assert ingest_bytes(b"\n".join([event(id="a"), event(id="b"), event(id="c")])).rejected == 2
    connection.execute("ALTER TABLE order_events DROP CONSTRAINT shut")
    assert counts(retry(connection)) == (2, 1, 0, 1)
    [left] = list_rejects(connection)
    assert (left.line, left.reason) == (1, "refused_by_database")
    assert 'violates check constraint "closed"' in left.detail


def test_details_that_a_text_of_postgresql_cannot_hold_are_stored_readably(
    connection: Connection, ingest_bytes: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PayloadError("a \0 and \ud800 and " + "x" * 10_000)

    monkeypatch.setattr(EVENTS, "check", fail)
    line = (
        b'{"specversion":"1.0","id":"1","source":"/s","type":"OrderPaid",'
        b'"subject":"2e7a8482-f6fb-0975-6ca5-0c10d7bfc047","data":{}}'
    )
    assert ingest_bytes(line).rejects_by_reason == {"bad_payload": 1}
    [reject] = list_rejects(connection)
    assert reject.detail.startswith("a \N{REPLACEMENT CHARACTER} and ? and xxx")


def test_what_somebody_discards_is_kept_with_whom_and_why_and_waits_no_more(
    connection: Connection, event: Make, ingest_bytes: Run
) -> None:
    ingest_bytes(b"\n".join([b"nonsense", event(type="OrderTeleported"), b"more nonsense"]), "a.ndjson")
    first, second, third = list_rejects(connection)
    done = rejects.discard(connection, [first.id, 10**12], why=" a test file ", by="ann")
    assert (done.ids, done.settled_before, done.unknown) == ([first.id], [], [10**12])
    assert list_rejects(connection) == [second, third]
    [kept] = list_rejects(connection, discarded=True)
    assert (kept.raw, kept.discarded_by, kept.discard_reason) == (b"nonsense", "ann", "a test file")
    assert kept.discarded_at == kept.resolved_at is not None
    assert rejects.find_reject(connection, first.id) == kept
    again = rejects.discard(connection, [first.id], why="twice", by="bob")
    assert (again.ids, again.settled_before) == ([], [first.id])
    assert list_rejects(connection, discarded=True) == [kept]
    assert counts(retry(connection)) == (2, 0, 0, 2)


def test_all_of_one_kind_or_of_one_file_are_discarded_together(
    connection: Connection, event: Make, ingest_bytes: Run
) -> None:
    ingest_bytes(b"\n".join([b"nonsense", event(type="OrderTeleported")]), "a.ndjson")
    ingest_bytes(b"\n".join([b"nonsense", event(type="OrderTeleported")]), "b.ndjson")
    assert (
        len(rejects.discard_all(connection, reason="not_json", file="a.ndjson", why="no", by="ann").ids) == 1
    )
    assert count_by_reason(connection) == {"unknown_type": 2, "not_json": 1}
    assert len(rejects.discard_all(connection, reason="unknown_type", why="no", by="ann").ids) == 2
    assert count_by_reason(connection) == {"not_json": 1}
    with pytest.raises(ValueError, match="say which"):
        rejects.discard_all(connection, why="no", by="ann")
    with pytest.raises(ValueError, match="say why"):
        rejects.discard_all(connection, reason="not_json", why=" ", by="ann")
    assert count_by_reason(connection) == {"not_json": 1}


def test_a_discarded_line_stays_discarded_when_its_file_comes_again(
    connection: Connection, ingest_bytes: Run
) -> None:
    ingest_bytes(b"nonsense", "a.ndjson")
    rejects.discard_all(connection, reason="not_json", why="no", by="ann")
    ingest_bytes(b"nonsense", "a.ndjson")
    assert count_by_reason(connection) == {}
    assert len(list_rejects(connection, discarded=True)) == 1


def test_only_the_rejects_that_were_named_are_tried_again(
    connection: Connection, event: Make, ingest_bytes: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older_code:
        older_code.delitem(EVENTS.types, "OrderPaid")
        ingest_bytes(b"\n".join(event(id=str(n)) for n in range(3)))
    _, second, _ = list_rejects(connection)
    assert counts(rejects.retry(connection, EVENTS, FORMATS, [second.id])) == (1, 1, 0, 0)
    assert [reject.line for reject in list_rejects(connection)] == [1, 3]


def test_a_line_that_a_retry_appends_in_the_moment_of_its_discarding_counts_as_appended(
    connection: Connection,
    database_url: str,
    event: Make,
    ingest_bytes: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as older_code:
        older_code.delitem(EVENTS.types, "OrderPaid")
        ingest_bytes(event())
    with psycopg.connect(database_url, autocommit=True) as other:
        before_call(
            monkeypatch,
            rejects,
            "append",
            1,
            lambda: rejects.discard_all(other, reason="unknown_type", why="no", by="ann"),
        )
        assert counts(retry(connection)) == (1, 1, 0, 0)
    assert list_rejects(connection, discarded=True) == []
    [settled] = list_rejects(connection, resolved=True)
    assert settled.discarded_by is None
