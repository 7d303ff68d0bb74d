"""settings: what a store is told once, for everybody, and what this machine is told."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from eventstore.face.cli.app import Json, app, open_store
from eventstore.face.cli.output import console, in_one_line, print_json
from eventstore.face.settings import Setting, change_policy, facts, policies
from eventstore.server.settings import file

_HEADINGS = ("name", "value", "from", "meaning")


@app.command()
def settings(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The setting of the store to change.")
    ] = None,
    value: Annotated[
        str | None, typer.Argument(metavar="VALUE", help="Its new value, such as '10 minutes'.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List all settings, or change one of the store, as in `eventstore settings max_hold '10 minutes'`.

    Those of the store are in its database and hold for everybody. Those of this machine stand in the file
    eventstore.toml in EVENTSTORE_HOME, or in the environment.
    """
    if name is not None and value is None:
        raise typer.BadParameter(f"give the new value of {name} too", param_hint="VALUE")
    here = facts()
    with open_store() as store, store.connection() as connection:
        if name is not None and value is not None:
            change_policy(connection, store.domain, name, value)
        everywhere = policies(connection, store.domain)
    if as_json:
        both = [*everywhere, *here]
        values: dict[str, object] = {each.name: each.value for each in both}
        print_json(values | {"from": {each.name: each.source for each in both}})
        return
    _print("Of the store, for everybody: eventstore settings NAME VALUE", everywhere)
    _print(f"Of this machine: {file()}, or the environment", here)


def _print(title: str, found: list[Setting]) -> None:
    rows = [(each.name, in_one_line(each.value), each.source, each.description) for each in found]
    if not console.is_terminal:  # nothing is cut or folded in a pipe
        typer.echo(title)
        for row in (_HEADINGS, *rows):
            typer.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, title=Text(title), title_justify="left", title_style="bold")
    table.add_column("name", no_wrap=True)
    for heading in _HEADINGS[1:]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
