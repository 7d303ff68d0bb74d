"""rebuild: every read model anew from the log, in the place of the old ones when it is there."""

from typing import Annotated

import msgspec
import typer

from eventstore.engine.rebuild import rebuild as rebuild_all
from eventstore.engine.rebuild import unfinished
from eventstore.face.cli.app import Json, app, open_store
from eventstore.face.cli.output import note, print_fields, print_json
from eventstore.face.cli.progress import event_progress
from eventstore.kernel.moments import moment


@app.command()
def rebuild(
    anew: Annotated[
        bool,
        typer.Option("--anew", help="From the beginning, also where an earlier run was left unfinished."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make every read model anew from the log: after a restore, after damage, whenever `check` says so.

    Readers see the old tables until each new one takes its place in one step. Run again after it was stopped
    or killed, it goes on. The rules stay: `replay` is for a change of them.
    """
    with open_store() as store, store.connection() as connection:
        before = None if anew else unfinished(connection, store.domain)
        if before is not None and not as_json:
            since, left = moment(before.began_at), ", ".join(before.left)
            note(f"the rebuild that began at {since} goes on; left: {left}")
        done = rebuild_all(
            connection,
            store.domain,
            anew=anew,
            shown=lambda name, total: event_progress(f"rebuilding {name}", total, quiet=as_json),
        )
    if as_json:
        print_json(done)
        return
    for name, table in done.tables.items():
        print_fields(msgspec.structs.asdict(table) | {"seconds": f"{table.seconds:.1f}"}, title=name)
    print_fields({"seconds": f"{done.seconds:.1f}", "next": "eventstore check"})
