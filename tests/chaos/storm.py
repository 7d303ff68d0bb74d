"""The storm from its beginning to its end, and what is looked at afterwards."""

import time
from pathlib import Path

import psycopg

from tests.chaos.cast import Cast
from tests.chaos.check_log import check_log, load_journals
from tests.chaos.check_models import ModelCheck, check_rebuild
from tests.chaos.disturber import Disturber
from tests.chaos.findings import Findings, say
from tests.chaos.plan import Plan
from tests.chaos.report import report
from tests.chaos.resolver import Resolver
from tests.chaos.server import Server
from tests.chaos.shown import ShownSoFar, check_consumers, end_of_feed
from tests.chaos.stage import Stage
from tests.chaos.workers import refresh_everything

_TICK_S = 0.1
_TELL_EVERY_S = 10


def storm(plan: Plan, folder: Path) -> Findings:
    """Raise it in ``folder``, let it pass, look. What is wrong is in the findings."""
    started = time.monotonic()
    findings = Findings()
    server = Server(folder / "home")
    try:
        stage = Stage(folder, server.url, plan)
        shown = ShownSoFar(folder, server, findings)
        cast = Cast(stage)
        try:
            disturber = Disturber(stage, server, cast, shown)
            _rage(plan, server, cast, disturber, findings)
            _calm_down(stage, server, cast, findings)
        finally:
            cast.kill()
        with server.connect() as connection:
            _look(connection, server, plan, folder, findings)
            report(connection, plan, disturber, findings, time.monotonic() - started)
    finally:
        server.stop()
    return findings


def _rage(plan: Plan, server: Server, cast: Cast, disturber: Disturber, findings: Findings) -> None:
    begin = told = time.monotonic()
    counted, progress = 0, 0.0
    while progress < 1 or disturber.crashes < plan.crashes:
        disturber.disturb(progress)
        for name in cast.dead():
            findings.add("a process that ended by itself", name)
            cast.restart(name)
        now = time.monotonic()
        if plan.events:
            counted = _count(server)
            progress = counted / plan.events
            time.sleep(min(2, plan.events / 20_000))
        else:
            progress = (now - begin) / plan.seconds
        if now - told > _TELL_EVERY_S:
            told = now
            say(f"{now - begin:5.0f} s  {_count(server):,} events, {disturber.done.total()} disturbances")
        time.sleep(_TICK_S)


def _count(server: Server) -> int:
    with server.connect() as connection:
        row = connection.execute("SELECT count(*) FROM order_events").fetchone()
    return row[0] if row else 0


def _calm_down(stage: Stage, server: Server, cast: Cast, findings: Findings) -> None:
    """Writers end, what is prepared is decided, consumers come to the end of the feed."""
    with server.connect() as connection:
        for role in ("writer", "loader", "worker"):
            for name in cast.end(role):
                findings.add(
                    "a process that does not come to an end", f"{name}: {_waiting(connection, name)}"
                )
        for name in cast.end("resolver"):
            findings.add("a process that does not come to an end", name)
        resolver = Resolver(stage, "last-resolver.0")
        resolver.connection = connection
        resolver.resolve(1)
        server.jump(connection, 1000)  # ahead of every id that was ever given
        _drain(connection, stage.folder, findings)
    for name in cast.end("consumer"):
        findings.add("a process that does not come to an end", name)


def _waiting(connection: psycopg.Connection[tuple[object, ...]], name: str) -> str:
    rows = connection.execute(
        "SELECT pid, state, wait_event_type, wait_event, left(query, 100), pg_blocking_pids(pid) "
        "FROM pg_stat_activity WHERE application_name LIKE %s || '%%'",
        (name,),
    )
    return str(rows.fetchall())


def _drain(connection: psycopg.Connection[tuple[object, ...]], folder: Path, findings: Findings) -> None:
    row = connection.execute("SELECT id::text FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
    last = str(row[0]) if row else ""
    begin = changed = time.monotonic()
    before: dict[str, str] = {}
    while min((reached := end_of_feed(folder)).values(), default="") < last:
        now = time.monotonic()
        if reached != before:
            before, changed = reached, now
        if now - changed > 60:
            holders = connection.execute("SELECT * FROM horizon_holders()").fetchall()
            findings.add("the feed does not come to its end", f"{reached} before {last}; holders: {holders}")
            return
        time.sleep(0.2)
    findings.checked["seconds until consumers had seen all"] = round(time.monotonic() - begin)


def _look(
    connection: psycopg.Connection[tuple[object, ...]],
    server: Server,
    plan: Plan,
    folder: Path,
    findings: Findings,
) -> None:
    say("The storm is over: journals, log, consumers, read models …")
    refresh_everything(connection)
    load_journals(connection, folder)
    check_log(connection, findings)
    check_consumers(connection, folder, findings)
    check = ModelCheck(connection, server.url, plan, findings)
    check.run()
    check_rebuild(connection, check, findings)
