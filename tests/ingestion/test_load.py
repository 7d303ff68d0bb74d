"""Files into the log: all good lines, once; all others among the rejects, with their reason."""

import csv
import gzip
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.ingestion import load
from eventstore.ingestion.files import InputFileError
from eventstore.ingestion.lines import MAX_LINE
from eventstore.ingestion.load import Ingested, Progress
from tests.shipped import ingest, read

Connection = psycopg.Connection[Any]
Make = Callable[..., bytes]
Run = Callable[..., Ingested]
Rejects = Callable[[], list[tuple[int, str]]]


def counts(done: Ingested) -> tuple[int, int, int, int]:
    return done.read, done.appended, done.duplicates, done.rejected


def number_of_events(connection: Connection) -> int:
    [count] = connection.execute("SELECT count(*) FROM order_events").fetchone() or [0]
    return int(count)


def test_the_whole_of_olist_goes_in_and_a_second_time_nothing_more(
    connection: Connection, shared_data: Path
) -> None:
    file = shared_data / "olist" / "events.ndjson.gz"
    assert counts(ingest(connection, [file])) == (295_484, 295_484, 0, 0)

    orders = connection.execute(
        "SELECT order_id, count(*), max(version), max(created_at) FROM order_events GROUP BY order_id"
    ).fetchall()
    with gzip.open(shared_data / "olist" / "truth.csv.gz", "rt") as truth:
        expected = {
            UUID(row["order_id"]): (int(row["events"]), row["last_business_time"])
            for row in csv.DictReader(truth)
        }
    assert len(expected) == 74_557
    assert {
        order_id: (number, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(last / 1000)))
        for order_id, number, _, last in orders
    } == expected
    assert all(number == highest for _, number, highest, _ in orders)  # versions 1, 2, 3 … without gaps

    assert counts(ingest(connection, [file])) == (295_484, 0, 295_484, 0)
    assert number_of_events(connection) == 295_484


def test_every_case_of_the_json_test_suite(
    connection: Connection,
    shared_data: Path,
    event: Make,
    paid_with: Callable[[bytes], bytes],
    tmp_path: Path,
) -> None:
    cases = {
        path.name: path.read_bytes()
        for path in (shared_data / "json_test_suite" / "test_parsing").iterdir()
        if path.name[0] in "yn"
    }
    assert len(cases) > 280
    lines: list[bytes] = []
    good: set[int] = set()  # numbers of the lines that must go in
    bad: set[int] = set()

    def add(line: bytes, *, is_good: bool) -> None:
        lines.append(line)
        if line.strip():
            (good if is_good else bad).add(len(lines))

    for name, case in cases.items():
        add(event(), is_good=True)
        for line in case.split(b"\n"):
            add(line, is_good=False)  # none of them is an event
        add(event(), is_good=True)
        if name.startswith("y_"):
            add(paid_with(case.replace(b"\n", b" ")), is_good="\0" not in text_of(json.loads(case)))
        elif b"\n" not in case:
            add(paid_with(case), is_good=False)
    path = tmp_path / "cases.ndjson"
    path.write_bytes(b"\n".join(lines))

    done = ingest(connection, [path])
    rejected = connection.execute("SELECT line, raw, reason FROM rejects").fetchall()
    assert {line for line, _, _ in rejected} == bad
    assert all(raw == lines[line - 1] for line, raw, _ in rejected)
    assert {reason for _, _, reason in rejected} <= {
        "not_json", "not_utf8", "not_an_event", "too_deep", "nul_character", "lone_surrogate"
    }  # fmt: skip
    assert counts(done) == (len(good) + len(bad), len(good), 0, len(bad))
    assert number_of_events(connection) == len(good)
    assert "too_deep" in {reason for _, _, reason in rejected}


def text_of(value: Any) -> str:
    """All strings in a JSON value."""
    if isinstance(value, dict):
        return text_of([*value, *value.values()])
    if isinstance(value, list):
        return "".join(map(text_of, value))
    return value if isinstance(value, str) else ""


def test_what_was_read_can_be_read_back(
    connection: Connection, shared_data: Path, tmp_path: Path, paid_with: Callable[[bytes], bytes]
) -> None:
    """No payload that was let in may break those who follow the feed."""
    cases = [path.read_bytes() for path in (shared_data / "json_test_suite" / "test_parsing").iterdir()]
    lines = [paid_with(case.replace(b"\n", b" ")) for case in cases if b"\n" not in case.strip()]
    path = tmp_path / "cases.ndjson"
    path.write_bytes(b"\n".join([*lines, paid_with(b"1" * 4000), paid_with(b"1e308"), paid_with(b"1e-400")]))
    done = ingest(connection, [path])
    assert done.read == done.appended + done.rejected
    assert len([event.event for event in read(connection, limit=10_000)]) == done.appended > 50


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(
        st.binary(max_size=80)
        | st.text(max_size=80).map(str.encode)
        | st.sampled_from([b"GOOD", b"GOOD\r", b"TWICE", b"", b" ", b"\xef\xbb\xbf", b"{}"]),
        max_size=12,
    ),
    st.booleans(),
)
def test_any_lines_are_each_appended_a_duplicate_or_rejected(
    connection: Connection, event: Make, tmp_path: Path, lines: list[bytes], packed: bool
) -> None:
    twice = event()
    lines = [
        twice if line == b"TWICE" else line.replace(b"GOOD", event()) if line[:4] == b"GOOD" else line
        for line in lines
    ]
    content = b"\n".join(lines)
    path = tmp_path / f"{uuid4()}.ndjson"
    path.write_bytes(gzip.compress(content) if packed else content)
    before = number_of_events(connection)
    done = ingest(connection, [path])
    assert done.read == done.appended + done.duplicates + done.rejected
    assert number_of_events(connection) - before == done.appended
    good = [line for line in lines if line.startswith(b'{"specversion"')]
    assert done.appended == len(set(good))
    assert done.duplicates == len(good) - len(set(good))


def test_a_byte_order_mark_crlf_and_a_missing_last_line_end_do_no_harm(
    event: Make, ingest_bytes: Run
) -> None:
    content = b"\xef\xbb\xbf" + event() + b"\r\n" + event() + b"\r\n\r\n  \t \n" + event()
    assert counts(ingest_bytes(content)) == (3, 3, 0, 0)


def test_a_byte_order_mark_belongs_at_the_beginning_of_the_file(
    event: Make, ingest_bytes: Run, rejects: Rejects
) -> None:
    assert counts(ingest_bytes(event() + b"\n\xef\xbb\xbf" + event())) == (2, 1, 0, 1)
    assert rejects() == [(2, "not_json")]


def test_gzip_is_recognised_whatever_the_name_says(event: Make, ingest_bytes: Run) -> None:
    assert counts(ingest_bytes(gzip.compress(event()), "plain.jsonl")) == (1, 1, 0, 0)
    assert counts(ingest_bytes(event(), "packed.ndjson.gz")) == (1, 1, 0, 0)
    assert counts(ingest_bytes(b"", "empty.ndjson.gz")) == (0, 0, 0, 0)


def test_a_truncated_file_gives_its_whole_lines_and_delivered_again_all(
    connection: Connection, event: Make, ingest_bytes: Run, rejects: Rejects
) -> None:
    lines = [event() for _ in range(500)]
    whole = gzip.compress(b"\n".join(lines))
    done = ingest_bytes(whole[: len(whole) // 2], "orders.ndjson.gz")
    assert 100 < done.appended < 400
    assert done.rejects_by_reason == {"truncated_gzip": 1}
    assert rejects() == [(done.appended + 1, "truncated_gzip")]
    [(raw,)] = connection.execute("SELECT raw FROM rejects").fetchall()
    assert raw
    assert lines[done.appended].startswith(raw)

    again = ingest_bytes(whole, "orders.ndjson.gz")
    assert counts(again) == (500, 500 - done.appended, done.appended, 0)
    assert rejects() == []


def test_a_corrupt_file_gives_the_lines_before_the_damage(
    event: Make, ingest_bytes: Run, rejects: Rejects
) -> None:
    lines = [event() for _ in range(10)]
    done = ingest_bytes(gzip.compress(b"\n".join(lines) + b"\n") + b"\x1f\x8b garbage")
    assert counts(done) == (11, 10, 0, 1)
    assert rejects() == [(11, "corrupt_gzip")]


def test_a_line_over_a_megabyte_is_rejected_with_its_beginning_and_one_of_a_megabyte_goes_in(
    connection: Connection, paid_with: Callable[[bytes], bytes], ingest_bytes: Run, rejects: Rejects
) -> None:
    size = len(paid_with(b'""'))
    longest = paid_with(b'"' + b"x" * (MAX_LINE - size) + b'"')
    too_long = paid_with(b'"' + b"x" * (MAX_LINE - size + 1) + b'"')
    assert (len(longest), len(too_long)) == (1 << 20, (1 << 20) + 1)
    assert counts(ingest_bytes(b"\n".join([longest, too_long, longest]))) == (3, 1, 1, 1)
    assert rejects() == [(2, "too_long")]
    [(raw, size)] = connection.execute("SELECT raw, raw_bytes FROM rejects").fetchall()
    assert raw == too_long[: 1 << 20]
    assert size == len(too_long)


def test_rejects_of_a_second_run_are_counted_but_not_stored_twice(
    connection: Connection, event: Make, ingest_bytes: Run, rejects: Rejects
) -> None:
    content = b"\n".join([event(), b"nonsense", event(type="OrderTeleported"), b"nonsense"])
    expected = [(2, "not_json"), (3, "unknown_type"), (4, "not_json")]
    for appended in (1, 0):
        done = ingest_bytes(content)
        assert counts(done) == (4, appended, 1 - appended, 3)
        assert done.rejects_by_reason == {"not_json": 2, "unknown_type": 1}
        assert rejects() == expected


def test_the_same_identity_with_other_content_is_a_conflict_wherever_it_stands(
    event: Make, ingest_bytes: Run, rejects: Rejects, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = uuid4()
    first = event(subject=order, id="1")
    other = event(subject=order, id="1", data={"amount": "99.00", "currency": "EUR"})
    later = event(subject=order, id="1", time="2026-03-03T12:00:01Z")
    same = event(subject=order, id="1").replace(b'"amount": "12.50", ', b'"amount":"12.50",')
    undated = event(subject=order, id="1", time=...)
    elsewhere = event(subject=order, id="1", source="/others")
    content = b"\n".join([first, other, same, later, undated, other, elsewhere])
    expected = [(2, "identity_conflict"), (4, "identity_conflict"), (6, "identity_conflict")]
    assert counts(ingest_bytes(content)) == (7, 2, 2, 3)
    assert rejects() == expected
    monkeypatch.setattr(load, "_CHUNK_LINES", 1)  # it makes no difference where a chunk ends
    assert counts(ingest_bytes(content)) == (7, 0, 4, 3)
    assert rejects() == expected


def test_the_first_of_two_different_events_with_one_identity_wins_also_against_the_log(
    event: Make, ingest_bytes: Run
) -> None:
    order = uuid4()
    recorded, other = event(subject=order, id="1"), event(subject=order, id="1", type="OrderShipped")
    assert counts(ingest_bytes(recorded)) == (1, 1, 0, 0)
    assert counts(ingest_bytes(b"\n".join([other, recorded, other]))) == (3, 0, 1, 2)


def test_events_keep_the_order_of_their_lines_within_an_order_and_in_the_feed(
    connection: Connection, event: Make, ingest_bytes: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [uuid4() for _ in range(3)]
    lines = [event(id=f"{number}", subject=orders[number % 3]) for number in range(30)]
    monkeypatch.setattr(load, "_CHUNK_LINES", 7)
    ingest_bytes(b"\n".join(lines))
    feed = read(connection, limit=100)
    assert [recorded.source_id for recorded in feed] == [f"{number}" for number in range(30)]
    assert [recorded.version for recorded in feed] == [number // 3 + 1 for number in range(30)]


def test_an_event_without_a_time_is_stamped_and_never_before_the_last_one_of_its_order(
    connection: Connection, event: Make, ingest_bytes: Run
) -> None:
    order, fresh = uuid4(), uuid4()
    content = [
        event(subject=order, time="2026-03-03T12:00:00Z"),
        event(subject=order, time="2999-01-01T00:00:00Z"),
        event(subject=order, time=...),
        event(subject=fresh, time=...),
        event(subject=order, time="2026-03-03T12:00:00Z"),
        event(subject=order, time=...),
    ]
    before = time.time_ns() // 10**6
    ingest_bytes(b"\n".join(content))
    after = time.time_ns() // 10**6
    far = 32472144000000  # 2999-01-01
    times = connection.execute(
        "SELECT created_at FROM order_events WHERE order_id = %s ORDER BY version", (order,)
    ).fetchall()
    noon = 1772539200000
    assert [at for (at,) in times] == [noon, far, far, noon, far]
    [(at,)] = connection.execute(
        "SELECT created_at FROM order_events WHERE order_id = %s", (fresh,)
    ).fetchall()
    assert before <= at <= after + 1
    ingest_bytes(event(subject=order, time=...))
    [(at,)] = connection.execute(
        "SELECT created_at FROM order_events WHERE order_id = %s AND version = 6", (order,)
    ).fetchall()
    assert at == far


def test_folders_stand_for_their_files_and_hidden_or_other_files_are_left_alone(
    connection: Connection, event: Make, tmp_path: Path
) -> None:
    for name in ("b.ndjson", "a.jsonl.gz", ".c.ndjson", "d.ndjson.tmp", "e.other", "F.NDJSON"):
        (tmp_path / name).write_bytes(event())
    (tmp_path / "folder.ndjson").mkdir()
    done = ingest(connection, [tmp_path, tmp_path / "b.ndjson"])
    assert [Path(file.file).name for file in done.files] == ["F.NDJSON", "a.jsonl.gz", "b.ndjson"]
    assert [file.appended for file in done.files] == [1, 1, 1]
    assert counts(done) == (3, 3, 0, 0)


@pytest.mark.parametrize(
    ("name", "says"),
    [("missing.ndjson", "no such file or folder"), ("orders.other", "must end with one of .ndjson, .jsonl")],
)
def test_a_path_that_cannot_be_ingested_is_named_before_anything_is_read(
    connection: Connection, event: Make, tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "good.ndjson").write_bytes(event())
    (tmp_path / "orders.other").write_bytes(event())
    with pytest.raises(InputFileError, match=says) as raised:
        ingest(connection, [tmp_path / "good.ndjson", tmp_path / name])
    assert name in str(raised.value)
    assert number_of_events(connection) == 0


def test_a_load_needs_a_connection_of_its_own_because_it_commits(
    connection: Connection, event: Make, tmp_path: Path
) -> None:
    (tmp_path / "good.ndjson").write_bytes(event())
    with connection.transaction(), pytest.raises(ValueError, match="without an open transaction"):
        ingest(connection, [tmp_path])


def test_progress_goes_up_to_the_size_of_each_file(
    database_url: str, event: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_CHUNK_LINES", 10)
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(event() for _ in range(35)))
    seen: list[Progress] = []
    ingest(database_url, [path], on_progress=seen.append)
    assert [progress.position for progress in seen] == sorted(progress.position for progress in seen)
    assert (seen[-1].position, seen[-1].read) == (path.stat().st_size, 35)
    assert len(seen) == 4


def test_only_the_events_that_the_database_refuses_are_left_out(
    connection: Connection, event: Make, ingest_bytes: Run, rejects: Rejects
) -> None:
    """The last line of defence: what Python let pass."""
    connection.execute(
        "ALTER TABLE order_events ADD CONSTRAINT no_dollars CHECK (event_data ->> 'currency' <> 'USD')"
    )
    lines = [
        event(data={"amount": "1.00", "currency": "USD" if number in (0, 17, 18, 99) else "EUR"})
        for number in range(100)
    ]
    assert counts(ingest_bytes(b"\n".join([*lines, b"nonsense"]))) == (101, 96, 0, 5)
    assert rejects() == [
        *((number, "refused_by_database") for number in (1, 18, 19, 100)),
        (101, "not_json"),
    ]
    [(detail,)] = connection.execute("SELECT detail FROM rejects WHERE line = 1").fetchall()
    assert 'violates check constraint "no_dollars"' in detail


def test_counts_per_file_and_reason_add_up(connection: Connection, event: Make, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"\n".join([event(), b"x", b"y", event(specversion="2.0")]))
    (tmp_path / "b.ndjson").write_bytes(b"\n".join([event(), b"z"]))
    done = ingest(connection, [tmp_path])
    assert counts(done) == (6, 2, 0, 4)
    assert done.rejects_by_reason == {"not_json": 3, "not_an_event": 1}
    assert [file.rejects_by_reason for file in done.files] == [
        {"not_json": 2, "not_an_event": 1},
        {"not_json": 1},
    ]
    stored = connection.execute(
        "SELECT file, read, appended, duplicates, rejected FROM ingested_files ORDER BY 1"
    )
    assert stored.fetchall() == [
        (str(tmp_path / "a.ndjson"), 4, 1, 0, 3),
        (str(tmp_path / "b.ndjson"), 2, 1, 0, 1),
    ]
    assert Counter(done.rejects_by_reason).total() == done.rejected


def test_any_character_arrives_as_it_was_sent(
    ingest_bytes: Callable[..., Ingested], connection: Connection, event: Make
) -> None:
    text = "".join(map(chr, range(1, 0x180))) + r"\ \. \N \t" + "\u2028\U0001f600"
    changes = {"source": text, "id": text, "note": text, "type": "OrderShipped"}
    lines = event(**changes, data={"carrier": text}), event(type="OrderShipped", data={"carrier": r"a\b"})
    assert ingest_bytes(b"\n".join(lines).replace(b": ", b":\t")).appended == 2
    rows = connection.execute(
        "SELECT source, source_id, metadata ->> 'note', event_data ->> 'carrier' "
        "FROM order_events ORDER BY id"
    ).fetchall()
    assert rows[0] == (text, text, text, text)
    assert rows[1][3] == r"a\b"
