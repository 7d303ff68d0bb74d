"""``make mutants``: the command line."""

import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated

import typer

from tests.mutants.entries import ROOT, Mutant, StaleError, mutants
from tests.mutants.report import progress, table
from tests.mutants.trial import Tree, Trial

_LONGEST_S = 900.0


def main(
    only: Annotated[str, typer.Option(help="Those whose part or name contains this.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="How many are tried at once.")] = 2,
    verbose: Annotated[bool, typer.Option(help="Show what the tests said of each.")] = False,
) -> None:
    """Take the steps of the protocols out, one at a time: a test of the part must fail each time.

    Ends with 1 where a mutant survives that is not explained, with 2 where the list is not in order.
    """
    started = time.monotonic()
    try:
        chosen = [mutant for mutant in mutants() if only in f"{mutant.part}: {mutant.name}"]
        for mutant in chosen:
            mutant.mutated((ROOT / mutant.file).read_text(encoding="utf-8"))
    except StaleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if not chosen:
        print(f"error: no mutant has {only!r} in its part or name", file=sys.stderr)
        sys.exit(2)
    with _trees(workers) as trees, ThreadPoolExecutor(workers) as threads:
        usual = _unchanged(chosen, trees, threads)

        def try_out(mutant: Mutant) -> tuple[Mutant, Trial]:
            with _one_of(trees) as tree:
                trial = tree.try_out(mutant, limit=2 * usual[mutant.tests] + 30)
            progress(mutant, trial, verbose=verbose)
            return mutant, trial

        try:
            tried = list(threads.map(try_out, chosen))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    print(table(tried, time.monotonic() - started))
    verdicts = {trial.verdict for _, trial in tried}
    sys.exit(2 if "BROKEN" in verdicts else 1 if "SURVIVED" in verdicts else 0)


def _unchanged(
    chosen: list[Mutant], trees: "SimpleQueue[Tree]", threads: ThreadPoolExecutor
) -> dict[tuple[str, ...], float]:
    """How long the tests take without any mutant; they must pass, or their failures would say nothing."""

    def run(tests: tuple[str, ...]) -> tuple[tuple[str, ...], Trial]:
        with _one_of(trees) as tree:
            return tests, tree.unchanged(tests, _LONGEST_S)

    usual = {}
    for tests, trial in threads.map(run, dict.fromkeys(mutant.tests for mutant in chosen)):
        if trial.verdict == "BROKEN":
            print(f"{trial.output}\nerror: {' '.join(tests)} fail without any mutant", file=sys.stderr)
            sys.exit(2)
        usual[tests] = trial.seconds
    print(f"Without any mutant the tests pass, in {sum(usual.values()):.0f} s for all parts", flush=True)
    return usual


@contextmanager
def _trees(number: int) -> Iterator["SimpleQueue[Tree]"]:
    trees: SimpleQueue[Tree] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="eventstore-mutants-") as folder:
        for each in range(number):
            place = Path(folder) / str(each)
            place.mkdir()
            trees.put(Tree(place))
        yield trees


@contextmanager
def _one_of(trees: "SimpleQueue[Tree]") -> Iterator[Tree]:
    tree = trees.get()
    try:
        yield tree
    finally:
        trees.put(tree)


def run() -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
