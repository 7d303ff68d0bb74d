"""prove: what the read models say against what a fold of the log says; one event against its seal."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
import typer

from eventstore.engine.proofs import proofs_of
from eventstore.engine.prover import Proven, Run, budget_of
from eventstore.engine.prover import prove as prove_some
from eventstore.face.cli.app import Json, app, open_store
from eventstore.face.cli.output import in_one_line, print_fields, print_json
from eventstore.face.cli.progress import event_progress
from eventstore.face.cli.sealing import prove_one
from eventstore.face.cli.stopping import STANDS, told_when_stopped
from eventstore.kernel.counted import counted

#: `--all` begins anew, and what it has proven until then is written down, as by every run.
_FROM_THE_START = "what was proven is kept, share by share; `eventstore prove` goes on, --all begins anew"


def _event_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"{in_one_line(text)} is no id of an event, a UUID") from None


@app.command()
def prove(
    event_id: Annotated[
        UUID | None,
        typer.Argument(parser=_event_id, metavar="ID", help="Of an event; with --version, of its order."),
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Which event of the order ID.")] = None,
    checkpoint: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The checkpoint to prove it against; the newest.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the proof there, not to standard output.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--all", help="All of it, from the beginning, whatever it takes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the next rows of the read models with a fold of their events; exits with 1 where they differ.

    A run looks at as many events as the setting proof_budget says and goes on where the last one ended.
    Given an event, it proves that this one is in the sealed log, to whoever has the public key.
    """
    if event_id is not None:
        if whole:
            raise typer.BadParameter("--all goes with no event")
        with told_when_stopped("stopped: nothing was written; run it again: it begins anew"):
            prove_one(event_id, version=version, checkpoint=checkpoint, output=output, as_json=as_json)
        return
    if version is not None or checkpoint is not None or output is not None:
        raise typer.BadParameter("--version, --checkpoint and --output go with the id of an event")
    kept = f"stopped: {_FROM_THE_START if whole else STANDS['prove']}"
    with told_when_stopped(kept), open_store() as store, store.connection() as connection:
        proofs = proofs_of(store.domain)
        budget = None if whole else budget_of(connection, proofs)
        runs = []
        for proof in proofs:
            total = budget or proof.total(connection)
            with event_progress(proof.name, total, quiet=as_json) as advance:
                runs.append(prove_some(connection, proof, budget, advance))
    if as_json:
        print_json({run.name: msgspec.structs.asdict(run) | {"findings": _pairs(run)} for run in runs})
    else:
        for run in runs:
            end = "to the end" if run.finished else "more to come"
            print_fields(
                {"looked_at": f"{counted(run.events, 'event')}, {end}", "found": f"{len(run.findings):,}"},
                title=run.name,
            )
            for finding in run.findings[:10]:
                typer.echo(in_one_line(f"{finding.subject}: {finding.what}"))
    if any(run.findings for run in runs):
        raise typer.Exit(1)


def _pairs(run: Run) -> list[tuple[str, str]]:
    return [(finding.subject, finding.what) for finding in run.findings]


def print_proofs(proofs: Iterable[Proven]) -> None:
    """How far each proof is, as `eventstore status` shows it."""
    for proof in proofs:
        print_fields(
            {
                "proven": f"{proof.share:.0%} of this round" if proof.share else None,
                "last": proof.proven_at or "never: run `eventstore prove`",
                "all_of_it": proof.whole_at,
                "again_by": proof.whole_by,
                "found": f"{proof.findings:,}" if proof.findings else None,
            },
            title=f"proof {proof.name}",
        )
        for finding in proof.first_findings:
            typer.echo(in_one_line(finding))
