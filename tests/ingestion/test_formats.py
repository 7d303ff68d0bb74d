"""A second format beside the shipped one: tables of meter readings, through all that files go through."""

import csv
import gzip
import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from inspect import unwrap
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import msgspec
import psycopg
import pytest

from eventstore.face.cli import app, ingesting
from eventstore.ingestion import load
from eventstore.ingestion.files import InputFileError, expand
from eventstore.ingestion.formats import by_name, by_suffix, in_words
from eventstore.ingestion.formats.cloudevents import CLOUD_EVENTS, CloudEvents
from eventstore.ingestion.lines import MAX_LINE
from eventstore.ingestion.load import Ingested, Progress
from eventstore.ingestion.rejects import Retried, count_by_reason, list_rejects, retry
from eventstore.kernel.codec import Codec
from eventstore.kernel.events import Event
from eventstore.kernel.incoming import Format, Line, Proposed, RefusedError
from eventstore.log.schema import migrate
from eventstore.log.settings import change_setting
from eventstore.orders.domain import DOMAIN
from pipelines import assets, checks, sensors
from pipelines.definitions import build_defs
from pipelines.resources import EventStore
from tests.log.pausing import until

Connection = psycopg.Connection[Any]
Drop = Callable[..., Path]


class MeterRead(Event, frozen=True, kw_only=True):
    value: str
    note: str | None = None


class MeterReset(Event, frozen=True, kw_only=True):
    """Known from the next release on."""


class Readings:
    """A header, then a row an event. A value in quotes may have ends of lines in it."""

    name = "readings"
    description = "tables of meter readings"
    suffixes: tuple[str, ...] = (".csv", ".readings.txt")

    def records(self, lines: Iterator[Line]) -> Iterator[Line]:
        header = next(lines, None)
        head = b"" if header is None else header.raw + b"\n"
        for line in lines:
            raw, size = line.raw, line.size
            while raw.count(b'"') % 2 and size <= MAX_LINE and (more := next(lines, None)):
                raw, size = raw + b"\n" + more.raw, size + 1 + more.size
            if raw.strip():
                yield Line(line.number, head + raw, len(head) + size)

    def propose(self, record: Line) -> Proposed:
        try:
            rows = list(csv.reader(io.StringIO(record.raw.decode("utf-8-sig"), newline=""), strict=True))
            names, values = rows
            row = dict(zip(names, values, strict=True))
        except (ValueError, csv.Error) as error:
            raise RefusedError("not_an_event", f"no row of a table: {error}") from None
        data = {name: row[name] for name in ("value", "note") if row.get(name)}
        extra = {"unit": row["unit"]} if row.get("unit") else {}
        return Proposed(
            row.get("type"),
            "/meters",
            row.get("id"),
            row.get("meter"),
            row.get("at") or None,
            msgspec.json.encode(data),
            metadata=extra,
        )


OLD, NEW = Codec([MeterRead]), Codec([MeterRead, MeterReset])
FORMATS: tuple[Format, ...] = (CLOUD_EVENTS, Readings())
METERS = replace(DOMAIN, events=NEW, formats=FORMATS)
HEADER = "type,id,meter,at,value,note,unit"


def row(number: int, meter: UUID, event_type: str = "MeterRead", value: str = "1.5", note: str = "") -> str:
    return f"{event_type},{number},{meter},2026-03-03T12:00:00Z,{value},{note},kWh"


def cloud_event(number: int, meter: UUID, event_type: str = "MeterRead") -> str:
    attributes = {
        "specversion": "1.0",
        "id": f"c{number}",
        "source": "/cloud",
        "type": event_type,
        "subject": str(meter),
        "data": {"value": "2.5"},
    }
    return msgspec.json.encode(attributes).decode()


@pytest.fixture
def drop(tmp_path: Path) -> Drop:
    """Puts lines into a file of the landing folder, some seconds ago; gzip where its name says so."""

    def put(name: str, *lines: str) -> Path:
        path = tmp_path / "landing" / name
        path.parent.mkdir(exist_ok=True)
        content = "\n".join(lines).encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        os.utime(path, (time.time() - 60,) * 2)
        return path

    return put


def ingest(connection: Connection, *paths: Path, codec: Codec = NEW) -> Ingested:
    return load.ingest(connection, codec, FORMATS, paths)


def again(connection: Connection, formats: tuple[Format, ...] = FORMATS) -> Retried:
    return retry(connection, NEW, formats)


def recorded(connection: Connection, meter: UUID) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT event_type, source_id, event_data ->> 'value', event_data ->> 'note', metadata ->> 'unit' "
        "FROM order_events WHERE order_id = %s ORDER BY version",
        (meter,),
    ).fetchall()


def counts(done: Ingested | Retried) -> tuple[int, int, int, int]:
    return done.read, done.appended, done.duplicates, done.rejected


def test_each_file_of_a_folder_is_read_in_the_format_of_its_name(
    connection: Connection, drop: Drop, tmp_path: Path
) -> None:
    meter = uuid4()
    drop("1.csv", HEADER, row(1, meter))
    drop("2.CSV.gz", HEADER, "", row(2, meter))
    drop("3.ndjson", cloud_event(3, meter))
    drop("4.readings.txt", HEADER + "\r", row(4, meter) + "\r")
    drop("5.txt", HEADER, row(5, meter))
    assert counts(ingest(connection, tmp_path / "landing")) == (4, 4, 0, 0)
    assert recorded(connection, meter) == [
        ("MeterRead", "1", "1.5", None, "kWh"),
        ("MeterRead", "2", "1.5", None, "kWh"),
        ("MeterRead", "c3", "2.5", None, None),
        ("MeterRead", "4", "1.5", None, "kWh"),
    ]
    assert counts(ingest(connection, tmp_path / "landing")) == (4, 0, 4, 0)


@pytest.mark.parametrize("lines", [(), (HEADER,), (HEADER, "", "")])
def test_a_table_without_rows_is_read_to_its_end(
    connection: Connection, drop: Drop, lines: tuple[str, ...]
) -> None:
    done = ingest(connection, drop("a.csv", *lines))
    assert counts(done) == (0, 0, 0, 0)
    assert len(done.files) == 1


def test_the_header_holds_for_each_chunk_of_the_file_also_in_a_second_run_after_a_crash(
    connection: Connection, drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_CHUNK_LINES", 2)
    meter = uuid4()
    path = drop("a.csv", HEADER, *(row(number, meter) for number in range(9)))

    def crash(now: Progress) -> None:
        if now.read >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load.ingest(connection, NEW, FORMATS, [path], on_progress=crash)
    before = len(recorded(connection, meter))
    assert 4 <= before < 9
    assert counts(ingest(connection, path)) == (9, 9 - before, before, 0)
    assert [source_id for _, source_id, *_ in recorded(connection, meter)] == [str(n) for n in range(9)]


def test_a_record_of_several_lines_is_one_event_and_goes_by_the_number_of_its_first(
    connection: Connection, drop: Drop
) -> None:
    meter = uuid4()
    noted = row(1, meter, note='"two\n\nlines, and ""more"""')
    path = drop("a.csv", HEADER, noted, row(2, meter, "MeterGone", note='"a\nb"'), row(3, meter))
    assert counts(ingest(connection, path)) == (3, 2, 0, 1)
    assert recorded(connection, meter)[0] == ("MeterRead", "1", "1.5", 'two\n\nlines, and "more"', "kWh")
    [reject] = list_rejects(connection)
    assert (reject.line, reject.reason, reject.format) == (5, "unknown_type", "readings")


def test_a_reject_keeps_what_its_format_needs_and_is_retried_without_its_file(
    connection: Connection, drop: Drop
) -> None:
    meter = uuid4()
    reset = row(2, meter, "MeterReset", note='"a\nb"')
    table = drop("a.csv", "\ufeff" + HEADER, row(1, meter), reset, "x,y")
    events = drop("b.ndjson", cloud_event(3, meter, "MeterReset"), "x,y")
    for path in (table, events):
        ingest(connection, path, codec=OLD)
        path.unlink()
    found = {(reject.format, reject.reason): reject for reject in list_rejects(connection)}
    assert set(found) == {
        ("readings", "unknown_type"),
        ("readings", "not_an_event"),
        ("cloudevents", "unknown_type"),
        ("cloudevents", "not_json"),
    }
    waits = found["readings", "unknown_type"]
    assert waits.raw == f"\ufeff{HEADER}\n{reset}".encode()
    assert waits.raw_bytes == len(waits.raw)
    assert counts(again(connection)) == (4, 2, 0, 2)
    assert [row[:2] for row in recorded(connection, meter)] == [
        ("MeterRead", "1"),
        ("MeterReset", "2"),
        ("MeterReset", "c3"),
    ]
    assert count_by_reason(connection) == {"not_an_event": 1, "not_json": 1}


def test_of_several_records_in_a_line_each_is_kept_for_itself(connection: Connection, drop: Drop) -> None:
    class Batches(CloudEvents):
        name = "batches"

        def records(self, lines: Iterator[Line]) -> Iterator[Line]:
            for line in lines:
                for raw in msgspec.json.decode(line.raw, type=list[msgspec.Raw]):
                    yield Line(line.number, bytes(raw), len(bytes(raw)))

    meter = uuid4()
    batch = [cloud_event(1, meter), cloud_event(2, meter, "MeterReset"), cloud_event(3, meter, "MeterReset")]
    path = drop("a.ndjson", f"[{','.join(batch)}]")
    assert counts(load.ingest(connection, OLD, [Batches()], [path])) == (3, 1, 0, 2)
    assert [(reject.line, reject.raw.decode()) for reject in list_rejects(connection)] == [
        (1, batch[1]),
        (1, batch[2]),
    ]
    assert counts(again(connection, (Batches(),))) == (2, 2, 0, 0)


def test_a_reject_of_a_format_that_is_not_known_any_more_waits_until_it_is(
    connection: Connection, drop: Drop
) -> None:
    meter = uuid4()
    ingest(connection, drop("a.csv", HEADER, row(1, meter, "MeterReset")), codec=OLD)
    for _ in range(2):
        assert again(connection, (CLOUD_EVENTS,)).rejects_by_reason == {"unknown_format": 1}
        [reject] = list_rejects(connection)
        assert reject.detail == 'it came as "readings"; known formats: cloudevents'
    assert counts(again(connection)) == (1, 1, 0, 0)


def test_a_reject_that_its_format_fails_on_stops_no_other(connection: Connection, drop: Drop) -> None:
    class Failing(Readings):
        def propose(self, record: Line) -> Proposed:
            raise KeyError("no\0column")

    meter = uuid4()
    ingest(connection, drop("a.csv", HEADER, row(1, meter, "MeterReset")), codec=OLD)
    ingest(connection, drop("b.ndjson", cloud_event(2, meter, "MeterReset")), codec=OLD)
    assert counts(again(connection, (CLOUD_EVENTS, Failing()))) == (2, 1, 0, 1)
    [reject] = list_rejects(connection)
    assert (reject.format, reject.reason) == ("readings", "format_failed")
    assert reject.detail.startswith("readings: KeyError: ")
    assert counts(again(connection)) == (1, 1, 0, 0)


def test_a_file_that_another_format_claims_now_has_rejects_of_that_format(
    connection: Connection, drop: Drop
) -> None:
    class Others(Readings):
        name = "others"

    path = drop("a.csv", HEADER, row(1, uuid4(), "MeterGone"))
    for formats in (FORMATS, (Others(),)):
        load.ingest(connection, NEW, formats, [path])
    [reject] = list_rejects(connection)
    assert reject.format == "others"


def test_the_rejects_of_a_release_without_formats_came_as_cloud_events(
    new_database: Callable[..., str],
) -> None:
    url, meter = new_database(migrated=False), uuid4()
    migrate.upgrade(url, "0004")
    old = "INSERT INTO rejects (file, line, reason, detail, raw, raw_bytes) VALUES (%s, 1, 'x', 'x', %s, 1)"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(old, ("/before.ndjson", cloud_event(1, meter).encode()))
        migrate.upgrade(url)
        connection.execute(old, ("/meanwhile.ndjson", cloud_event(2, meter).encode()))
        assert {reject.format for reject in list_rejects(connection)} == {CLOUD_EVENTS.name}
        assert counts(again(connection)) == (2, 2, 0, 0)


def test_what_is_left_of_a_damaged_file_is_not_taken_for_a_record_whatever_it_looks_like(
    connection: Connection, drop: Drop
) -> None:
    """Cut off, the row of an event may look like that of another one."""
    meter = uuid4()
    path = drop("a.csv.gz", HEADER, row(1, meter), f"{HEADER}\n{row(2, meter)[:-4]}")
    whole = path.read_bytes()
    stream = cloud_event(3, meter).encode()
    for name, content in (("a.csv.gz", whole), ("b.ndjson.gz", gzip.compress(stream))):
        (path.parent / name).write_bytes(content[:-8])  # all of the text, and nothing to check it by
    done = ingest(connection, path.parent)
    assert done.rejects_by_reason["truncated_gzip"] == 2
    before = [reject for reject in list_rejects(connection) if reject.reason == "truncated_gzip"]
    again(connection)
    assert [reject for reject in list_rejects(connection) if reject.reason == "truncated_gzip"] == before
    assert [row[:2] for row in recorded(connection, meter)] == [("MeterRead", "1")]
    (path.parent / "b.ndjson.gz").write_bytes(gzip.compress(stream))
    ingest(connection, path.parent / "b.ndjson.gz")
    assert [row[:2] for row in recorded(connection, meter)] == [("MeterRead", "1"), ("MeterRead", "c3")]
    assert [Path(reject.file).name for reject in list_rejects(connection, reason="truncated_gzip")] == [
        "a.csv.gz"
    ]


def test_a_record_over_a_megabyte_is_rejected_and_those_around_it_go_in(
    connection: Connection, drop: Drop
) -> None:
    meter = uuid4()
    long = row(2, meter, note="x" * MAX_LINE)
    endless = row(4, meter, note='"' + "\n".join(["never closed" * 99] * (MAX_LINE // 1000)))
    done = ingest(connection, drop("a.csv", HEADER, row(1, meter), long, row(3, meter), endless))
    assert done.rejects_by_reason["too_long"] >= 2
    assert [source_id for _, source_id, *_ in recorded(connection, meter)] == ["1", "3"]
    assert counts(again(connection))[1:3] == (0, 0)
    for reject in list_rejects(connection, reason="too_long"):
        assert reject.raw_bytes > MAX_LINE
        assert len(reject.raw) <= MAX_LINE


def test_a_path_of_no_format_is_refused_with_the_endings_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("")
    for formats in (FORMATS, FORMATS[1:]):
        with pytest.raises(InputFileError) as raised:
            expand([tmp_path / "a.xml"], formats)
        for suffix in CLOUD_EVENTS.suffixes:
            assert (suffix in str(raised.value)) == (CLOUD_EVENTS in formats)
        for suffix in Readings.suffixes:
            assert suffix in str(raised.value)
            assert f"{suffix}.gz" in str(raised.value)


def test_the_longest_ending_decides_between_two_formats(tmp_path: Path) -> None:
    class Texts(Readings):
        name = "texts"
        suffixes = (".txt",)

    for name in ("a.readings.txt", "b.txt", "c.TXT.gz"):
        (tmp_path / name).write_text("")
    for formats in ([Texts(), Readings()], [Readings(), Texts()]):
        found = expand([tmp_path], formats).files
        assert [file.format.name for file in found] == ["readings", "texts", "texts"]


def test_two_formats_that_claim_the_same_are_told_of() -> None:
    class Rival(Readings):
        name = "rival"

    with pytest.raises(ValueError, match=r"\.csv is claimed by readings and rival"):
        by_suffix([Readings(), Rival()])
    with pytest.raises(ValueError, match="two formats are called readings"):
        by_name([Readings(), Readings()])


@pytest.mark.parametrize("suffix", ["", "csv", ".CSV"])
def test_an_ending_that_no_name_would_match_is_told_of(suffix: str) -> None:
    class Silent(Readings):
        suffixes = (suffix,)

    with pytest.raises(ValueError, match=r"readings: .* is no ending in small letters"):
        by_suffix([Silent()])


def test_help_says_which_files_there_are() -> None:
    assert in_words(FORMATS).endswith("tables of meter readings (.csv, .readings.txt)")
    [command] = [
        each
        for each in app.registered_commands
        if each.callback and unwrap(each.callback) is unwrap(ingesting.ingest)
    ]
    assert in_words(DOMAIN.formats) in str(command.help)


@pytest.fixture
def meters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> Callable[[], dg.RunRequest | dg.SkipReason]:
    """Dagster works for the domain of meters; what its sensor answers now."""
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    for module in (assets, checks, sensors):
        monkeypatch.setattr(module, "DOMAIN", METERS)

    def tick() -> dg.RunRequest | dg.SkipReason:
        with dg.DagsterInstance.ephemeral() as instance:
            store = EventStore(url=database_url)
            context = dg.build_sensor_context(instance=instance, resources={"store": store})
            [answer] = sensors.landing_files(context)  # type: ignore[misc]
        assert isinstance(answer, dg.RunRequest | dg.SkipReason)
        return answer

    return tick


def test_the_sensor_sees_files_of_each_format_and_a_run_takes_them(
    meters: Callable[[], dg.RunRequest | dg.SkipReason], drop: Drop, connection: Connection, database_url: str
) -> None:
    meter = uuid4()
    drop("a.csv", HEADER, row(1, meter), "x,y")
    drop("b.ndjson", cloud_event(2, meter))
    drop("c.xml")
    request = meters()
    assert isinstance(request, dg.RunRequest)
    assert request.tags["eventstore/files"] == "2"
    job = build_defs({"store": EventStore(url=database_url)}).resolve_job_def("ingest")
    assert job.execute_in_process().success
    assert [row[1] for row in recorded(connection, meter)] == ["1", "c2"]
    assert [(reject.format, reject.line) for reject in list_rejects(connection)] == [("readings", 3)]
    assert isinstance(meters(), dg.SkipReason)


def test_the_check_names_files_of_each_format_that_nobody_takes(
    meters: Callable[[], object], drop: Drop, database_url: str, connection: Connection
) -> None:
    change_setting(connection, "max_file_wait", "1 second")
    drop("a.csv", HEADER)

    def left() -> Any:
        found = checks.files_left(EventStore(url=database_url))
        assert isinstance(found, dg.AssetCheckResult)
        return found.metadata["files"].value

    until(lambda: left() == ["a.csv"])
