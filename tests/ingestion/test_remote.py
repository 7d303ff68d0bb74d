"""Files at URLs: in an object store, a local one that speaks S3, and on a web server."""

import gzip
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from eventstore.ingestion import leaving, remote
from eventstore.ingestion.files import InputFileError
from eventstore.ingestion.judging import judge_landing
from eventstore.ingestion.places import look
from pipelines import sensors
from pipelines.definitions import build_defs
from pipelines.resources import EventStore
from tests.shipped import FORMATS, ingest, ingest_landing

pytest.importorskip("aiohttp", reason="pip install 'eventstore[http]'")
pytestmark = pytest.mark.xdist_group("object-store")  # one of them is started

Connection = psycopg.Connection[Any]
Make = Callable[..., bytes]
Put = Callable[..., None]


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of a local S3, which everything here speaks to."""
    pytest.importorskip("s3fs", reason="pip install 'eventstore[s3]'")
    pytest.importorskip("flask_cors", reason="pip install 'eventstore[dev]'")
    server_of = pytest.importorskip("moto.server", reason="pip install 'eventstore[dev]'")
    import boto3  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield boto3.client("s3")
    forget_connections()
    server.stop()


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    name = f"bucket-{abs(hash(request.node.nodeid)):x}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def put(s3: Any, bucket: str, event: Make) -> Put:
    """Puts a file of one good line, or of other content, into the folder ``in`` of the bucket."""

    def put_object(name: str, content: bytes | None = None) -> None:
        s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=event() if content is None else content)

    return put_object


@pytest.fixture
def keys(s3: Any, bucket: str) -> Callable[[], list[str]]:
    def found() -> list[str]:
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return [each["Key"].removeprefix("in/").replace(today, "TODAY") for each in listed]

    return found


class Web(ThreadingHTTPServer):
    """A web server that shows a folder; ``asked`` tells what was asked for."""

    daemon_threads = True
    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Files(SimpleHTTPRequestHandler):
    def send_head(self) -> Any:
        assert isinstance(self.server, Web)
        self.server.asked.append(f"{self.command} {self.path}")
        return super().send_head()

    def log_message(self, *_: object) -> None:
        pass


def serving(handler: Any) -> Iterator[Web]:
    server = Web(("127.0.0.1", 0), handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    yield from serving(partial(Files, directory=str(tmp_path)))


def forget_connections() -> None:
    for module in ("s3fs", "fsspec.implementations.http"):
        for kind in vars(sys.modules[module]).values() if module in sys.modules else []:
            if isinstance(kind, type) and hasattr(kind, "clear_instance_cache"):
                kind.clear_instance_cache()


def number_of(connection: Connection, table: str) -> int:
    [count] = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or [0]
    return int(count)


def test_a_folder_of_a_bucket_is_read_once_and_known_files_are_not_downloaded_again(
    connection: Connection,
    put: Put,
    bucket: str,
    event: Make,
    monkeypatch: pytest.MonkeyPatch,
    keys: Callable[[], list[str]],
) -> None:
    put("a.ndjson")
    put("b.ndjson.gz", gzip.compress(event() + b"\nnonsense\n"))
    put("ü %?#.ndjson")
    put("readme.txt")
    put("inner/c.ndjson")
    before = keys()
    url = f"s3://{bucket}/in"
    done = ingest(connection, [url])
    assert (done.appended, done.rejected, done.failed, done.skipped) == (3, 1, [], [])
    assert [file.file for file in done.files] == [
        f"{url}/a.ndjson", f"{url}/b.ndjson.gz", f"{url}/ü %25%3F%23.ndjson"
    ]  # fmt: skip
    opened: list[str] = []
    monkeypatch.setattr(remote.RemoteFile, "open", lambda file: opened.append(file.name))
    again = ingest(connection, [url + "/", f"{url}/a.ndjson"])
    assert (again.read, opened) == (0, [])
    assert again.known == ["3 files at URLs did not change since read: not downloaded again"]
    monkeypatch.undo()
    put("a.ndjson", event() + b"\n" + event())
    assert ingest(connection, [url]).appended == 2
    assert keys() == before  # it is no landing folder


def test_objects_of_the_same_size_and_second_are_told_apart(
    connection: Connection, put: Put, bucket: str, event: Make
) -> None:
    url = f"s3://{bucket}/in/a.ndjson"
    put("a.ndjson", event(id="a" * 36))
    ingest(connection, [url])
    put("a.ndjson", event(id="b" * 36))
    assert ingest(connection, [url]).appended == 1


def test_a_landing_folder_in_a_bucket_is_emptied_and_no_name_is_overwritten(
    connection: Connection, put: Put, bucket: str, event: Make, keys: Callable[[], list[str]], s3: Any
) -> None:
    url = f"s3://{bucket}/in"
    put("a.ndjson")
    put("damaged.ndjson.gz", gzip.compress(event() + b"\n" + event())[:-9])
    done = ingest_landing(connection, url)
    assert (done.appended, done.not_moved, len(done.moved)) == (2, [], 2)
    assert keys() == [
        "done/TODAY/a.ndjson",
        "failed/damaged.ndjson.gz",
        "failed/damaged.ndjson.gz.reason.txt",
    ]
    reason = s3.get_object(Bucket=bucket, Key="in/failed/damaged.ndjson.gz.reason.txt")["Body"].read()
    assert reason.startswith(f"{url}/damaged.ndjson.gz could not be read whole: truncated_gzip".encode())
    put("a.ndjson")
    assert ingest_landing(connection, url).appended == 1
    assert len([key for key in keys() if key.startswith("done/TODAY/a.")]) == 2
    assert ingest_landing(connection, url).read == 0
    assert judge_landing(connection, url, FORMATS).level == "ok"
    assert connection.execute("SELECT count(*), count(moved_to) FROM ingested_files").fetchone() == (3, 3)


def test_by_the_command_too_the_landing_folder_is_emptied_and_by_the_setting_nothing_moves(
    connection: Connection, put: Put, bucket: str, keys: Callable[[], list[str]]
) -> None:
    url = f"s3://{bucket}/in/"
    put("a.ndjson")
    assert ingest_landing(connection, url, move=False).appended == 1
    assert keys() == ["a.ndjson"]
    done = ingest(connection, [url], landing=url)
    assert (done.read, len(done.moved), keys()) == (0, 1, ["done/TODAY/a.ndjson"])


@pytest.mark.parametrize("step", ["cp_file", "rm_file"])
def test_a_move_in_a_bucket_that_was_broken_off_is_done_by_the_next_run(
    connection: Connection,
    put: Put,
    bucket: str,
    keys: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    import fsspec  # noqa: PLC0415

    def away(*_: object) -> None:
        raise ConnectionError("away")

    put("a.ndjson")
    monkeypatch.setattr(fsspec.filesystem("s3", **remote._options("s3")), step, away)
    done = ingest_landing(connection, f"s3://{bucket}/in")
    assert (done.appended, len(done.not_moved)) == (1, 1)
    assert judge_landing(connection, f"s3://{bucket}/in", FORMATS).code == "landing-not-moved"
    monkeypatch.undo()
    connection.execute("UPDATE ingested_files SET move_again_at = now()")
    again = ingest_landing(connection, f"s3://{bucket}/in")
    assert (again.read, keys()) == (0, ["done/TODAY/a.ndjson"])


def test_an_object_that_was_replaced_after_it_was_read_is_not_moved_unread(
    connection: Connection,
    put: Put,
    bucket: str,
    keys: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    move = remote.move_remote

    def late(*given: Any) -> remote.Gone:
        put("a.ndjson")
        return move(*given)

    put("a.ndjson")
    monkeypatch.setattr(leaving, "move_remote", late)
    assert ingest_landing(connection, f"s3://{bucket}/in").moved == {}
    monkeypatch.undo()
    assert keys() == ["a.ndjson"]
    assert ingest_landing(connection, f"s3://{bucket}/in").appended == 1
    assert keys() == ["done/TODAY/a.ndjson"]


def test_what_is_wrong_with_a_bucket_is_one_line(
    connection: Connection, s3: Any, bucket: str, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error_of(*paths: str) -> str:
        with pytest.raises(InputFileError) as raised:
            ingest(connection, list(paths))
        assert "\n" not in str(raised.value)
        assert raised.value.__suppress_context__ or raised.value.__context__ is None
        return str(raised.value)

    assert error_of("s3://no-such-bucket-here/in/") == "s3://no-such-bucket-here/in/: no such bucket"
    assert error_of(f"s3://{bucket}/in/none.ndjson").endswith("none.ndjson: no such file or folder")
    put("a.other")
    assert "must end with one of" in error_of(f"s3://{bucket}/in/a.other")
    assert look(f"s3://{bucket}/empty", FORMATS).files == []  # as a landing folder that is not there yet
    with pytest.raises(InputFileError, match="no such bucket"):
        look("s3://no-such-bucket-here/in", FORMATS)
    for module, extra in (("s3fs", "s3"), ("gcsfs", "gcs"), ("adlfs", "azure"), ("aiohttp", "http")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            scheme = {"gcs": "gs", "azure": "az", "http": "https"}.get(extra, extra)
            assert error_of(f"{scheme}://b/a.ndjson").endswith(f"pip install 'eventstore[{extra}]'")
    for server in serving(Forbidding):
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        forget_connections()
        assert "no permission" in error_of(f"s3://{bucket}/in/")
    forget_connections()
    assert "cannot be reached" in error_of(f"s3://{bucket}/in/")  # nobody is there any more
    monkeypatch.undo()
    forget_connections()


class Forbidding(BaseHTTPRequestHandler):
    def answer(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_files_of_a_web_server_are_read_by_url_and_as_a_folder_and_stay_there(
    connection: Connection, tmp_path: Path, web: Web, event: Make
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.ndjson").write_bytes(event() * 1)
    (tmp_path / "in" / "b b.ndjson.gz").write_bytes(gzip.compress(b"\n".join(event() for _ in range(9))))
    (tmp_path / "in" / "other.txt").write_text("other")
    assert ingest(connection, [f"{web.url}/in/a.ndjson"]).appended == 1
    assert ingest_landing(connection, f"{web.url}/in/").appended == 9
    web.asked.clear()
    again = ingest(connection, [f"{web.url}/in/", f"{web.url}/in/a.ndjson"])
    assert (again.read, again.moved) == (0, {})
    assert [line for line in web.asked if line.startswith("GET") and not line.endswith("/in/")] == []
    assert judge_landing(connection, f"{web.url}/in/", FORMATS).level == "ok"


def test_two_files_that_only_the_query_tells_apart_are_both_read_and_a_new_signature_is_no_other_file(
    connection: Connection, tmp_path: Path, web: Web, event: Make
) -> None:
    (tmp_path / "a.ndjson").write_bytes(event())  # this server sends the same, whatever is asked
    url = f"{web.url}/a.ndjson"
    assert len(ingest(connection, [f"{url}?day=1&sig=x", f"{url}?day=2&sig=x"]).files) == 2
    assert ingest(connection, [f"{url}?sig=y&day=1"]).files == []
    assert len(ingest(connection, [f"{url}?day=3"]).files) == 1


class BreaksOff(BaseHTTPRequestHandler):
    """Says that there is more than it sends; and then no more, as if the network were away."""

    content = b""
    share = 0.5

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.send_header("ETag", '"1"')
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.content[: int(len(self.content) * self.share)])

    def log_message(self, *_: object) -> None:
        pass


def test_a_network_that_is_away_in_the_middle_leaves_a_file_to_be_read_again(
    connection: Connection, event: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [event() for _ in range(400)]
    monkeypatch.setattr(BreaksOff, "content", b"\n".join(lines))
    for server in serving(BreaksOff):
        url = f"http://me:hush@127.0.0.1:{server.server_port}/a.ndjson?X-Amz-Signature=hush#hush"
        done = ingest(connection, [url])
        [failed] = done.failed
        assert failed.file == f"{server.url}/a.ndjson"
        assert failed.reason == "it cannot be reached, or the connection broke off"
        assert "hush" not in repr(done)
        assert done.files == []
        assert number_of(connection, "ingested_files") == 0
        assert number_of(connection, "rejects") == 0
        monkeypatch.setattr(BreaksOff, "share", 1)
        assert ingest(connection, [url]).read == 400
    assert number_of(connection, "order_events") == 400


def test_no_secret_of_a_url_reaches_tables_results_errors_or_logs(
    connection: Connection, tmp_path: Path, web: Web, event: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "eventstore")
    (tmp_path / "a.ndjson").write_bytes(event() + b"\nnonsense")
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(event())[:-9])
    at = f"http://me:hush@127.0.0.1:{web.server_port}"
    secret = "?X-Amz-Credential=hush%2F1&X-Amz-Signature=hush&sig=hush#hush"
    seen: list[object] = []
    done = ingest(connection, [f"{at}/{name}{secret}" for name in ("a.ndjson", "b.ndjson.gz")],
                  on_progress=seen.append)  # fmt: skip
    assert (done.rejected, done.failed) == (2, [])
    errors = []
    for url in (f"{at}/none.ndjson{secret}", f"http://me:hush@127.0.0.1:1/a.ndjson{secret}",
                f"{at}/a.other{secret}", f"http://me:hush@[/a.ndjson{secret}"):  # fmt: skip
        with pytest.raises(InputFileError) as raised:
            ingest(connection, [url])
        errors.append(str(raised.value))
        assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert any("GET /a.ndjson?X-Amz" in line for line in web.asked)  # it was sent there, of course
    tables = connection.execute(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    ).fetchall()
    kept = [connection.execute(f'SELECT t::text FROM "{name}" t').fetchall() for (name,) in tables]
    assert f"{web.url}/a.ndjson" in repr(kept)
    shown = [str(path.path.__fspath__()) for path in seen]  # type: ignore[attr-defined]
    for text in (repr(kept), repr(done), repr(errors), repr(shown), caplog.text):
        assert "hush" not in text


def test_the_sensor_and_its_run_work_on_a_bucket_and_a_run_is_given_no_secret(
    connection: Connection,
    database_url: str,
    put: Put,
    bucket: str,
    keys: Callable[[], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    (tmp_path / "eventstore.toml").write_text(f'landing = "s3://{bucket}/in"\n')
    store = EventStore(url=database_url)

    def tick() -> Any:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance=instance, resources={"store": store})
            [answer] = sensors.landing_files(context)  # type: ignore[misc]
        return answer

    assert isinstance(tick(), dg.SkipReason)
    put("a.ndjson")
    assert tick().tags["eventstore/files"] == "1"
    job = build_defs({"store": store}).resolve_job_def("ingest")
    assert job.execute_in_process().success
    assert keys() == ["done/TODAY/a.ndjson"]
    assert isinstance(tick(), dg.SkipReason)
    url = "https://me:hush@host/a.ndjson?sig=hush"
    config = dg.RunConfig(ops={"order_events": {"config": {"paths": [url]}}})
    failed = job.execute_in_process(run_config=config, raise_on_error=False)
    [event] = [event for event in failed.all_events if event.is_step_failure]
    assert "https://host/a.ndjson" in str(event.step_failure_data)
    assert "hush" not in str(event.step_failure_data)
