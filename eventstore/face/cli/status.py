"""status: is it well? what is wrong? what do I do?"""

import sys
import time
from typing import Annotated

import msgspec
import typer

from eventstore.engine.status import Status
from eventstore.face.cli.app import Json, app, open_store
from eventstore.face.cli.output import console, in_one_line, lag, print_fields, print_json
from eventstore.face.cli.proving import print_proofs
from eventstore.face.cli.verdicts import print_verdicts
from eventstore.face.duty import judge
from eventstore.kernel.verdicts import worst
from eventstore.server.settings import landing_place

_WATCH_S = 2.0


@app.command()
def status(
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where anything fails: for monitoring.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again every two seconds, until Ctrl-C.")
    ] = False,
    details: Annotated[
        bool, typer.Option("--details", help="Also the watermark and rules of every table and consumer.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is wrong and what to do, the worst first: log, holders, tables, rules, rejects, schedules.

    Each line is ok, warn or fail, with a code: docs/runbook.md has an entry for each.
    """
    with open_store() as store:
        while True:
            with store.connection() as connection:
                now, seals, backup, verdicts = judge(connection, store.domain, store.url, landing_place())
            if watch and console.is_terminal and not as_json:
                console.clear()
            if as_json:
                also = {"seals": seals, "backup": backup}
                judged = {"verdict": worst(verdicts), "verdicts": [each.as_json() for each in verdicts]}
                print_json(msgspec.structs.asdict(now) | also | judged)
            else:
                print_verdicts(verdicts)
                if details:
                    _print_details(now)
            if not watch:
                break
            sys.stdout.flush()
            time.sleep(_WATCH_S)
    if check and worst(verdicts) == "fail":
        raise typer.Exit(1)


def _print_details(now: Status) -> None:
    for event in now.clock.waiting_events:
        typer.echo(
            f"event {event.id} waits: version {event.version} of order {event.order_id}, {event.recorded_at}"
        )
    for name, consumer in now.consumers.items():
        print_fields(
            {
                "owner": consumer.owner,
                "followed_by": ", ".join(map(str, consumer.followed_by)),
                "watermark": consumer.watermark,
                "lag": lag(consumer),
                "last_seen": consumer.updated_at,
            },
            title=f"consumer {in_one_line(name)}",
        )
    for name, projection in now.projections.items():
        print_fields(
            {
                "watermark": projection.watermark,
                "lag": lag(projection),
                "rules": projection.fold_version,
                "refreshed": projection.updated_at or "never: run `eventstore refresh`",
            },
            title=name,
        )
    print_proofs(now.proofs.values())
