"""check: does everything hold that must hold?"""

from contextlib import suppress
from typing import Annotated

import psycopg
import typer
from rich.text import Text

from eventstore.face.checking import SAMPLE, UNKNOWN, VIOLATED, Check, Checked, checks_of, run, verdict_of
from eventstore.face.cli.app import Json, app, cannot_tell, fail, open_store
from eventstore.face.cli.output import complain, console, in_one_line, note, print_json, print_rows
from eventstore.face.cli.progress import event_progress
from eventstore.kernel.counted import counted
from eventstore.kernel.shown import printable, shown
from eventstore.log.connection import Connection
from eventstore.seals.outside import outside
from eventstore.server.settings import landing_place

_SHOWN = 20
_CODES = {VIOLATED: 1, UNKNOWN: 2}


@app.command()
def check(
    whole: Annotated[
        bool, typer.Option("--all", help="Fold every order, not a sample; costs what a replay costs.")
    ] = False,
    sample: Annotated[
        int, typer.Option(min=1, metavar="EVENTS", help="Fold about so many events of each read model.")
    ] = SAMPLE,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this invariant; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove in one pass what must hold: versions, ids, identities, watermarks, read models, seals, files.

    Writes nothing, and disturbs nobody: others may write meanwhile. Exits with 0: all of it holds, 1:
    something does not, 2: it cannot be told.
    """
    with cannot_tell(), open_store() as store, store.connection() as connection:
        checks = _chosen(checks_of(store.domain, outside(), landing_place(), None if whole else sample), only)
        checked = [_run(connection, each, quiet=as_json) for each in checks]
    verdict = verdict_of(checked)
    problems = [problem for each in checked for problem in each.problems]
    if as_json:
        print_json({"verdict": verdict, "problems": problems, "checks": checked})
    else:
        _print(checked)
    if verdict in _CODES:
        raise typer.Exit(_CODES[verdict])


def _chosen(checks: list[Check], only: list[str] | None) -> list[Check]:
    known = {check.name for check in checks}
    for name in only or ():
        if name not in known:
            raise fail(
                f"there is no invariant {shown(name)}; there are {', '.join(check.name for check in checks)}"
            )
    return [check for check in checks if not only or check.name in only]


def _run(connection: Connection, check: Check, *, quiet: bool) -> Checked:
    total = 0  # of what may not be read: running it says why
    with suppress(psycopg.Error, OSError):
        total = check.total(connection)
    with event_progress(check.name, total, quiet=quiet, transient=True) as advance:
        return run(connection, check, advance)


def _print(checked: list[Checked]) -> None:
    print_rows(
        ("invariant", "verdict", "looked at", "found"),
        [
            (
                each.name,
                "skipped" if each.skipped else each.verdict,
                _looked_at(each),
                f"{each.problem_count:,}",
            )
            for each in checked
        ],
    )
    for each in checked:
        if each.skipped:
            note(f"{each.name}: skipped, {printable(each.skipped)}")
        for doubt in each.doubts:
            typer.secho(in_one_line(f"{each.name}: {doubt}"), fg=typer.colors.YELLOW)
        for problem in each.problems[:_SHOWN]:
            which = (
                f" order {problem.order_id}" if problem.order_id else f" {problem.id}" if problem.id else ""
            )
            line = in_one_line(f"{problem.kind} in {problem.table}:{which}: {problem.detail}")
            console.print(Text(line, style="red"), soft_wrap=True)
        if each.problem_count > _SHOWN:
            typer.echo(f"… {each.problem_count - _SHOWN:,} more of {each.name}; --json lists them")
    found = sum(each.problem_count for each in checked)
    if found:
        complain(f"{counted(found, 'problem')}: docs/operating.md says what to do about each")


def _looked_at(checked: Checked) -> str:
    if checked.skipped:
        return "-"
    return f"{checked.looked_at:,}{'' if checked.whole else ', a sample'}" if checked.looked_at else "all"
