"""What became of the mutants, in 80 columns."""

import textwrap
from collections import Counter

from tests.mutants.entries import Mutant
from tests.mutants.trial import Trial

_WIDTH = 80


def progress(mutant: Mutant, trial: Trial, *, verbose: bool) -> None:
    print(
        f"{trial.verdict:<10}{trial.seconds:>5.0f} s  {_cut(f'{mutant.part}: {mutant.name}', _WIDTH - 19)}",
        flush=True,
    )
    if verbose or trial.verdict == "BROKEN":
        print(textwrap.indent(trial.output, "    "), flush=True)


def table(tried: list[tuple[Mutant, Trial]], seconds: float) -> str:
    """By part: each mutant with the test that noticed it; then those that none did, with the promise."""
    lines: list[str] = []
    part = None
    for mutant, trial in tried:
        if mutant.part != part:
            part = mutant.part
            lines += ["", part]
        lines.append(f"  {trial.verdict:<10}{_cut(mutant.name, _WIDTH - 12)}")
        if trial.by:
            lines.append(f"            {_cut(f'by {trial.by}', _WIDTH - 12)}")
    for verdict in ("explained", "SURVIVED", "BROKEN"):
        found = [mutant for mutant, trial in tried if trial.verdict == verdict]
        if found:
            lines += ["", f"{verdict}:"]
        for mutant in found:
            lines += _wrapped(f"- {mutant.part}: {mutant.name}: {mutant.explained or mutant.promise}")
    counts = Counter(trial.verdict for _, trial in tried)
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    minutes, rest = divmod(round(seconds), 60)
    return "\n".join([*lines, "", f"{len(tried)} mutants in {minutes} min {rest} s: {said}."])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ")
