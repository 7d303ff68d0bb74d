"""doctor: can this machine and its database keep a store?"""

import typer

from eventstore.face.cli.app import Json, app
from eventstore.face.cli.output import print_json
from eventstore.face.cli.verdicts import print_verdicts
from eventstore.face.doctor import examine
from eventstore.kernel.verdicts import worst

_MISSING = 2


@app.command()
def doctor(as_json: Json = False) -> None:
    """Look for what keeps a store from working here: folders, settings, the server, its schema, rights, port.

    Exits with 2 where something is missing, and says what to do about it.
    """
    found = list(examine())
    if as_json:
        print_json({"verdict": worst(found), "verdicts": [each.as_json() for each in found]})
    else:
        print_verdicts(found)
    if worst(found) == "fail":
        raise typer.Exit(_MISSING)
