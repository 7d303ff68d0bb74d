"""seal, verify, prove: the audit trail of the log."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer

from eventstore.face.cli.app import CANNOT_TELL, Json, app, cannot_tell, fail, open_store
from eventstore.face.cli.output import complain, in_one_line, print_fields, print_json
from eventstore.face.cli.progress import event_progress
from eventstore.face.times import parse_time
from eventstore.kernel.recorded import to_ms
from eventstore.log.connection import Connection
from eventstore.seals.changing import change_key_of
from eventstore.seals.checkpoint import Signed
from eventstore.seals.folder import read_file
from eventstore.seals.note import VerifierKey
from eventstore.seals.outside import outside, read_trusted
from eventstore.seals.proof import Proof, check_proof, read_proof, written
from eventstore.seals.proving import event_of, prove_event, prove_growth, sealed_checkpoint
from eventstore.seals.repairing import repair as repair_seals
from eventstore.seals.sealing import seal as seal_log
from eventstore.seals.share import verify_share
from eventstore.seals.status import seal_status
from eventstore.seals.verifying import ALTERED, INTACT, Verified
from eventstore.seals.verifying import verify as verify_log

_NOT = 1
_SHOWN = 20
_VERDICTS = {"proven": 0, "refuted": _NOT, "unknown": CANNOT_TELL}

Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key", metavar="KEY", help="Trust this public key, not those of EVENTSTORE_HOME. Repeatable."
    ),
]
Output = Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there, not to standard output.")]


@app.command()
def seal(
    repair: Annotated[
        bool, typer.Option("--repair", help="Make damaged tiles and trees anew first, from an intact log.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Seal every event up to now: what was sealed cannot be changed unnoticed, by anybody."""
    with open_store() as store, store.connection() as connection:
        now = seal_status(connection)
        if repair:
            with event_progress("repairing", now.sealed, quiet=as_json, transient=True) as advance:
                repair_seals(connection, outside(), on_progress=advance)
        with event_progress("sealing", now.unsealed, quiet=as_json, transient=True) as advance:
            done = seal_log(connection, outside(), on_progress=advance)
    if as_json:
        print_json(done)
        return
    print_fields(msgspec.structs.asdict(done) | {"key": None, "warnings": None})
    for warning in done.warnings:
        typer.secho(in_one_line(f"warning: {warning}"), fg=typer.colors.YELLOW, err=True)


@app.command()
def verify(
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME|N", help="Only what was recorded since then, or since checkpoint N."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="CHECKPOINT", help="A checkpoint that you kept. Repeatable."),
    ] = None,
    key: Keys = None,
    share: Annotated[
        bool, typer.Option("--share", help="Only the part whose turn it is, as each night, and note that.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Sessions that work at a time.")] = 4,
    as_json: Json = False,
) -> None:
    """Verify that all sealed events are as they were sealed. Exits with 0: intact, 1: not, 2: cannot tell."""
    with cannot_tell(), open_store() as store, store.connection() as connection:
        sealed = seal_status(connection).sealed
        with event_progress("verifying", sealed, quiet=as_json, transient=True) as advance:
            if share:
                if since or against or key:
                    raise typer.BadParameter("--share goes with none of --since, --against and --key")
                found = verify_share(connection, outside(), workers=workers, on_progress=advance).verified
            else:
                found = verify_log(
                    connection,
                    outside(),
                    keys=_trusted(key),
                    against=against or [],
                    since=None if since is None else _since(connection, since),
                    workers=workers,
                    on_progress=advance,
                )
    print_json(found) if as_json else _print_verified(found)
    if found.verdict != INTACT:
        raise typer.Exit(_NOT if found.verdict == ALTERED else CANNOT_TELL)


@app.command("prove-consistency")
def prove_consistency(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A checkpoint: its number, or a file.")],
    new: Annotated[
        str | None, typer.Argument(metavar="NEW", help="A later one; without it, the newest.")
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Prove that the log only grew from one checkpoint to another."""
    with open_store() as store, store.connection() as connection:
        proof = prove_growth(connection, _checkpoint(connection, old), _checkpoint(connection, new))
    _hand_over(proof, output, as_json)


@app.command("verify-proof")
def verify_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `prove` or `prove-consistency` wrote.")],
    key: Keys = None,
    as_json: Json = False,
) -> None:
    """Check a proof, without any database. Exits with 0: it holds, 1: it does not, 2: cannot tell."""
    with cannot_tell():
        found = check_proof(read_proof(file.read_bytes()), _trusted(key) or outside().trusted())
    if as_json:
        print_json(found)
    else:
        print_fields(
            msgspec.structs.asdict(found)
            | {"event": None if found.event is None else msgspec.json.encode(found.event).decode()}
        )
    if found.verdict != "proven":
        raise typer.Exit(_VERDICTS[found.verdict])


@app.command("seal-key")
def seal_key(
    change: Annotated[
        bool, typer.Option("--change", help="Replace the key by a new one, which the old one signs.")
    ] = False,
    lost: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Replace a key that is lost. Who trusted it has to trust anew."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the public key that checkpoints are signed by, for whoever verifies; or replace the key."""
    what = outside()
    result: dict[str, Any]
    if change or lost is not None:
        with open_store() as store, store.connection() as connection:
            changed = change_key_of(connection, what, lost=lost)
        result = {
            "key": str(changed.note.key),
            "number": changed.note.number,
            "signs_after_checkpoint": changed.note.after,
            "replaces": str(changed.note.replaces),
            "to_do": changed.to_do,
        }
    else:
        trusted = what.trusted()
        if not trusted:
            raise fail(f"there is no key in {what.home} yet: `eventstore seal` makes one", 1)
        result = {"key": str(trusted[-1])}
        if not as_json:
            typer.echo(result["key"])  # for a file, as it is
            return
    print_json(result) if as_json else print_fields(result)


def prove_one(
    id_: UUID, *, version: int | None, checkpoint: int | None, output: Path | None, as_json: bool
) -> None:
    """`eventstore prove ID`: the proof that one event is in the sealed log."""
    with open_store() as store, store.connection() as connection:
        event_id = id_ if version is None else event_of(connection, id_, version)
        proof = prove_event(connection, event_id, checkpoint)
    _hand_over(proof, output, as_json)


def _hand_over(proof: Proof, output: Path | None, as_json: bool) -> None:
    if output is not None:
        output.write_bytes(written(proof))
        result = {"written": str(output)}
        print_json(result) if as_json else print_fields(result)
    elif as_json:
        print_json(proof)
    else:
        typer.echo(written(proof).decode(), nl=False)


def _print_verified(found: Verified) -> None:
    fields = msgspec.structs.asdict(found)
    print_fields(
        {**fields, "problems": None, "problem_count": None, "doubts": None, "gaps": None, "epochs": None}
    )
    for epoch in found.epochs:
        typer.echo(in_one_line(f"declared: {epoch}"))
    for gap in found.gaps:
        typer.echo(in_one_line(f"known gap: {gap}"))
    for doubt in found.doubts:
        typer.secho(in_one_line(f"doubt: {doubt}"), fg=typer.colors.YELLOW)
    for problem in found.problems[:_SHOWN]:
        event = f" event {problem.id}" if problem.id else ""
        order = f" (version {problem.version} of order {problem.order_id})" if problem.order_id else ""
        what = f"{event}{order}:" if event else ""
        typer.secho(in_one_line(f"{problem.kind}:{what} {problem.detail}"), fg=typer.colors.RED)
    if found.problem_count > _SHOWN:
        typer.echo(f"… {found.problem_count - _SHOWN:,} more; --json lists them")
    if found.problems:
        many = "problem" if found.problem_count == 1 else "problems"
        complain(f"{found.problem_count:,} {many}: docs/seals.md says what to do")


def _trusted(keys: list[str] | None) -> list[VerifierKey]:
    return [read_trusted(key) for key in keys or []]


def _since(connection: Connection, text: str) -> UUID:
    """The highest id that lies before a time, or before what came after a checkpoint."""
    if text.isdecimal():
        return sealed_checkpoint(connection, int(text)).checkpoint.horizon
    return UUID(int=max(to_ms(parse_time(text)), 0) << 80)


def _checkpoint(connection: Connection, text: str | None) -> Signed:
    if text is None or text.isdecimal():
        return sealed_checkpoint(connection, int(text) if text else None)
    return read_file(Path(text))
