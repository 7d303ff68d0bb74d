"""The runbook: an entry for all that can be told, and what an entry prints heals what it is about."""

import gzip
import json
import os
import re
import shlex
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from eventstore.engine.change import same_rules
from eventstore.engine.replay import replay_bucket
from eventstore.ingestion.landing import begin, claim, failed
from eventstore.kernel.verdicts import RUNBOOK
from eventstore.orders.domain import DOMAIN
from eventstore.server.urls import with_database
from pipelines.definitions import build_defs
from tests.buckets import BUCKETS
from tests.docs import runbook
from tests.docs.snippets import Snippet
from tests.killing import until
from tests.log.sessions import end_sessions
from tests.seals.tampering import LOG, altering
from tests.shipped import as_if_rules_had_changed

Words = Mapping[str, object]
SHIPPED = Jsonb([{"type": "OrderShipped", "data": {}}])


@dataclass
class Here:
    """A store on a good day, to be spoiled."""

    cli: Callable[..., Any]
    connection: psycopg.Connection[Any]
    url: str
    home: Path
    server_url: str
    new_database: Callable[..., str]
    setenv: Callable[[str, str], None]
    mend: Callable[[], object] = lambda: None  #: what a person does before the last block

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    def append(self, ago: timedelta = timedelta()) -> UUID:
        """An order with an event that was recorded a while ago."""
        order = uuid4()
        self.connection.execute("SELECT append_events(%s, %s)", (order, SHIPPED))
        if ago:
            with altering(self.connection, "order_events"):
                self.connection.execute(
                    "UPDATE order_events SET id = uuidv7_lowest(uuidv7_ms(id) - %s) WHERE order_id = %s",
                    (int(ago.total_seconds() * 1000), order),
                )
        return order

    def set(self, name: str, value: str) -> None:
        """A setting, also to what its constraint does not allow."""
        for (constraint,) in self.connection.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'settings'::regclass AND contype = 'c' "
            "AND starts_with(conname, %s)",
            (name,),
        ).fetchall():
            self.connection.execute(f'ALTER TABLE settings DROP CONSTRAINT "{constraint}"')
        self.connection.execute(f"UPDATE settings SET {name} = '{value}'")

    def bad(self, command: str) -> dict[str, dict[str, Any]]:
        """What `status` or `doctor` says that is not well, by code."""
        found = self.cli(command, "--json").json["verdicts"]
        return {each["code"]: each for each in found if each["level"] != "ok"}

    def run(self, block: Snippet, words: Words) -> None:
        """What a block prints, each word in capitals replaced."""
        code = re.sub(r"\b[A-Z][A-Z]+\b", lambda found: str(words.get(found[0], found[0])), block.code)
        if block.language == "sql":
            self.connection.execute(code.encode())
            return
        for line in code.splitlines():
            program, *arguments = shlex.split(os.path.expandvars(line), comments=True)
            if program == "export":
                self.setenv(*arguments[0].split("=", 1))
            elif program == "eventstore":
                ran = self.cli(*arguments)
                assert (ran.code != 0) == block.fails, f"{line}\n{ran.out}{ran.err}"
            else:
                subprocess.run([program, *arguments], check=True)


@pytest.fixture
def here(
    cli: Callable[..., Any],
    connection: psycopg.Connection[Any],
    database_url: str,
    tmp_path: Path,
    server_url: str,
    new_database: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    free: int,
) -> Here:
    (tmp_path / "landing").mkdir()
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    monkeypatch.setenv("PORT", str(free))
    made = Here(cli, connection, database_url, tmp_path, server_url, new_database, monkeypatch.setenv)
    made.append(timedelta(hours=1))
    assert cli("refresh").code == 0
    return made


@pytest.fixture
def free() -> int:
    return free_port()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


#: A role that was granted what it needs may still be denied the rest.
MAY_STAY = {"doctor-rights"}
Case = Callable[[Here], Iterator[Words]]
CASES: dict[str, Case] = {}


def case(code: str) -> Callable[[Case], Case]:
    """How what an entry is about comes about; yields what its words stand for, then clears up."""

    def register(spoil: Case) -> Case:
        CASES[code] = spoil
        return spoil

    return register


@case("holder-overdue")
def _(here: Here) -> Iterator[Words]:
    here.set("max_hold", "0")
    with closing(psycopg.connect(here.url)) as writer:
        writer.execute("SELECT append_events(%s, %s)", (uuid4(), SHIPPED))
        yield {"PID": writer.info.backend_pid}


@case("holder-blocking")
def _(here: Here) -> Iterator[Words]:
    here.set("max_hold", "0")
    lock = "SELECT FROM projections WHERE name = 'orders' FOR UPDATE"
    with closing(psycopg.connect(here.url)) as holder, closing(psycopg.connect(here.url)) as waiter:
        holder.execute(lock)
        waits = threading.Thread(target=waiter.execute, args=(lock,))
        waits.start()
        until(lambda: "holder-blocking" in here.bad("status"))
        yield {"PID": holder.info.backend_pid}
        waits.join()


@case("clock")
def _(here: Here) -> Iterator[Words]:
    here.connection.execute("SELECT setval('feed_horizon', clock_ms() + 2000)")
    yield {}


@case("rules-old")
def _(here: Here) -> Iterator[Words]:
    as_if_rules_had_changed(here.connection)
    yield {}


@case("replay-waits")
def _(here: Here) -> Iterator[Words]:
    as_if_rules_had_changed(here.connection)
    here.cli("replay", "--preview")
    yield {}


@case("replay-stands")
def _(here: Here) -> Iterator[Words]:
    as_if_rules_had_changed(here.connection)
    for projection in same_rules(DOMAIN, DOMAIN.states):
        for bucket in range(BUCKETS):
            replay_bucket(here.connection, bucket, projection)
    yield {}


@case("two-interpretations")
def _(here: Here) -> Iterator[Words]:
    here.connection.execute("UPDATE projections SET fold_version = 'before' WHERE name = 'customers'")
    yield {}


@case("lag")
def _(here: Here) -> Iterator[Words]:
    here.append(timedelta(minutes=20))
    yield {}


@case("never-refreshed")
def _(here: Here) -> Iterator[Words]:
    here.connection.execute("DELETE FROM projections WHERE name = 'order_history'")
    here.connection.execute("TRUNCATE order_history")
    yield {}


@case("quarantine")
def _(here: Here) -> Iterator[Words]:
    refuses = "ALTER TABLE orders ADD CONSTRAINT refuses CHECK (status <> 'Shipped') NOT VALID"
    here.connection.execute(refuses.encode())
    order = here.append()
    here.cli("refresh")
    here.mend = lambda: here.connection.execute("ALTER TABLE orders DROP CONSTRAINT refuses")
    yield {"ORDER": order}


@case("consumer")
def _(here: Here) -> Iterator[Words]:
    here.connection.execute("SELECT save_watermark('billing', %s)", (UUID(int=0),))
    here.set("max_lag", "0")
    yield {"NAME": "billing"}


@case("rejects")
def _(here: Here) -> Iterator[Words]:
    (here.home / "a.ndjson").write_text("nonsense\n")
    here.cli("ingest", here.home / "a.ndjson")
    yield {"REASON": "not_json", "WHY": "a test"}


def dropped(here: Here, name: str) -> Path:
    """A file that lies in the landing folder for long."""
    file = here.landing / name
    file.write_text("")
    os.utime(file, (1, 1))
    return file


@case("files-damaged")
def _(here: Here) -> Iterator[Words]:
    whole = dropped(here, "some.ndjson").read_bytes()
    file = here.landing / "cut-off.ndjson.gz"
    file.write_bytes(gzip.compress(whole)[:-4])
    here.cli("ingest", here.landing)
    here.mend = lambda: file.write_bytes(gzip.compress(whole))
    yield {"FILE": file}


@case("landing")
def _(here: Here) -> Iterator[Words]:
    dropped(here, "old.ndjson")
    here.set("max_file_wait", "0")
    yield {"FOLDER": here.landing}


@case("landing-failed")
def _(here: Here) -> Iterator[Words]:
    file = dropped(here, "bad.ndjson")
    mine, _ = claim(here.connection, here.landing, DOMAIN.formats)
    for found in begin(here.connection, mine, mine.together):
        failed(here.connection, mine, found.version, "disk full")
    yield {"FILE": file}


@case("landing-not-moved")
def _(here: Here) -> Iterator[Words]:
    file, in_the_way = dropped(here, "read.ndjson"), here.landing / "done"
    in_the_way.write_text("")
    here.cli("ingest", file)
    here.mend = in_the_way.unlink
    yield {"FILE": file}


@case("landing-skipped")
def _(here: Here) -> Iterator[Words]:
    link = here.landing / "nowhere.ndjson"
    link.symlink_to("nothing")
    yield {"FILE": link, "ELSEWHERE": here.home}


@case("proof")
def _(here: Here) -> Iterator[Words]:
    here.cli("seal")
    here.cli("prove")
    here.connection.execute("UPDATE proofs SET proven_at = now() - interval '3 days'")
    here.connection.execute("UPDATE seal_verification SET verified_at = now() - interval '3 days'")
    yield {}


@case("proof-failed")
def _(here: Here) -> Iterator[Words]:
    here.connection.execute("UPDATE orders SET status = 'Paid'")
    assert here.cli("prove").code == 1
    yield {}


@case("ahead-of-log")
def _(here: Here) -> Iterator[Words]:
    here.append()
    here.cli("refresh")
    with altering(here.connection, *LOG):
        here.connection.execute("DELETE FROM order_events")
    yield {}


@case("rebuild-unfinished")
def _(here: Here) -> Iterator[Words]:
    here.connection.execute("INSERT INTO rebuild_steps (read_model, epoch) VALUES ('orders', 1)")
    yield {}


@case("seals")
def _(here: Here) -> Iterator[Words]:
    here.cli("seal")
    here.append()
    here.cli("refresh")
    here.set("max_unsealed", "0")
    yield {}


@case("seals-broken")
def _(here: Here) -> Iterator[Words]:
    here.cli("seal")
    with altering(here.connection):
        here.connection.execute("UPDATE seal_trees SET tiles = 0, edge = '', leaves = '', ids = ''")
    assert here.cli("verify", "--share").code == 1
    yield {}


@case("backup")
def _(here: Here) -> Iterator[Words]:
    folder = here.home / "backups"
    here.setenv("EVENTSTORE_BACKUPS", str(folder))
    assert here.cli("backup").code == 0
    [file] = folder.rglob("backup.json")
    said = json.loads(file.read_text())
    long_ago = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    file.write_text(json.dumps(said | {"started_at": long_ago, "finished_at": long_ago}))
    yield {}


@case("backup-missing")
def _(here: Here) -> Iterator[Words]:
    here.setenv("EVENTSTORE_BACKUPS", str(here.home / "backups"))
    yield {}


@case("doctor-home")
def _(here: Here) -> Iterator[Words]:
    (here.home / "file").write_text("")
    here.setenv("EVENTSTORE_HOME", str(here.home / "file"))
    yield {"FOLDER": here.home / "another"}


@case("doctor-settings")
def _(here: Here) -> Iterator[Words]:
    (here.home / "eventstore.toml").write_text("nonsense")
    yield {}


@case("doctor-landing")
def _(here: Here) -> Iterator[Words]:
    here.landing.rmdir()
    yield {}


@case("doctor-server")
def _(here: Here) -> Iterator[Words]:
    here.setenv("DATABASE_URL", with_database(here.server_url, "eventstore_test_nowhere"))
    yield {"URL": here.url}


@case("doctor-schema")
def _(here: Here) -> Iterator[Words]:
    here.setenv("DATABASE_URL", here.new_database(migrated=False))
    yield {}


@case("doctor-rights")
def _(here: Here) -> Iterator[Words]:
    name = f"{here.connection.info.dbname}_nobody"
    with login(here, name) as url:
        here.setenv("DATABASE_URL", url)
        yield {"ROLE": name}


@case("doctor-buckets")
def _(here: Here) -> Iterator[Words]:
    here.setenv("EVENTSTORE_BUCKETS", str(1 if BUCKETS > 1 else 2))
    yield {"NUMBER": BUCKETS}


@contextmanager
def login(here: Here, name: str) -> Iterator[str]:
    """A role that may do nothing but connect."""
    role, database = sql.Identifier(name), sql.Identifier(here.connection.info.dbname)
    here.connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'p'").format(role))
    here.connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
    try:
        yield f"postgresql://{name}:p@{here.url.split('://', 1)[1].split('@', 1)[-1]}"
    finally:
        end_sessions(here.connection, name)
        here.connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
        here.connection.execute(sql.SQL("DROP ROLE {}").format(role))


@case("doctor-port")
def _(here: Here) -> Iterator[Words]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", int(os.environ["PORT"])))
        listener.listen()
        yield {"OTHER": free_port()}


@pytest.mark.parametrize("code", sorted(CASES))
def test_what_an_entry_prints_heals_what_it_is_about(code: str, here: Here) -> None:
    command = "doctor" if code.startswith("doctor-") else "status"
    spoiled = CASES[code](here)
    words = next(spoiled)
    try:
        assert here.bad(command)[code]["runbook"] == f"{RUNBOOK}#{code}"
        *first, last = [block for block in runbook.entries()[code] if not block.not_run]
        for block in first:
            here.run(block, words)
        here.mend()
        here.run(last, words)
        until(lambda: here.bad(command).keys() <= MAY_STAY)
        assert all(each["level"] == "warn" for each in here.bad(command).values())
    finally:
        next(spoiled, None)


def test_each_entry_with_commands_is_carried_out_or_says_why_not() -> None:
    assert set(CASES) == runbook.to_be_carried_out()


def test_all_that_can_be_told_has_an_entry_and_no_entry_is_of_nothing() -> None:
    specs = [spec for check in build_defs().asset_checks or () for spec in check.check_specs]
    checks = {str((spec.metadata or {})["runbook"]).removeprefix(f"{RUNBOOK}#") for spec in specs}
    assert set(runbook.entries()) == runbook.codes() | checks | runbook.alerts()


def test_each_check_ends_its_description_with_its_entry() -> None:
    for check in build_defs().asset_checks or ():
        for spec in check.check_specs:
            assert (spec.description or "").endswith((spec.metadata or {})["runbook"]), spec.name


def test_every_code_that_is_seen_is_one_that_is_found_in_the_code(here: Here) -> None:
    seen = [*here.cli("status", "--json").json["verdicts"], *here.cli("doctor", "--json").json["verdicts"]]
    assert {each["code"] for each in seen} < runbook.codes()
