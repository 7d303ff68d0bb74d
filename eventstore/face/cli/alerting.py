"""alerts: on which ways this machine tells of problems, and whether a message arrives."""

import time
from typing import Annotated

import typer

from eventstore.alerts.channels import Channel, channels, send_in_time
from eventstore.alerts.errors import NotDeliveredError
from eventstore.alerts.problems import Item, Problem
from eventstore.face.cli.app import Json, app, fail
from eventstore.face.cli.output import print_json
from eventstore.kernel.verdicts import entry
from eventstore.server.settings import file


@app.command()
def alerts(
    test: Annotated[bool, typer.Option("--test", help="Send a message, and say whether it arrives.")] = False,
    as_json: Json = False,
) -> None:
    """Show on which ways alerts go out: by webhook, by mail. With --test each gets a message.

    ALERT_WEBHOOK_URL names a webhook; alert_mail_to and smtp_server in eventstore.toml a mail server. The
    sensor `alerts` of Dagster uses them.
    """
    ways = channels()
    if test and not ways:
        raise fail(f"no alerts are configured: set ALERT_WEBHOOK_URL, or alert_mail_to in {file()}")
    found = {way.name: _outcome(way) if test else "configured" for way in ways}
    if as_json:
        print_json(found)
    else:
        for name, outcome in found.items():
            typer.echo(f"{name}  {outcome}")
        if not ways:
            typer.echo(f"None: set ALERT_WEBHOOK_URL, or alert_mail_to in {file()}.")
    if test and any(outcome != "arrived" for outcome in found.values()):
        raise typer.Exit(1)


def _outcome(way: Channel) -> str:
    now = time.time()
    problem = Problem(
        key="test",
        kind="test",
        severity="warning",
        title="test",
        text="Somebody tries whether alerts arrive.",
        runbook=entry("alert-test"),
    )
    try:
        send_in_time(way, [Item(what="begins", problem=problem, since=now, at=now)])
    except NotDeliveredError as error:
        return f"not delivered: {error}"
    return "arrived"
