"""What was found to be wrong, in words, with the first few examples of each kind."""

import sys
from collections import Counter
from collections.abc import Iterable

_EXAMPLES = 5


class Findings:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}
        self.checked: Counter[str] = Counter()  #: how many comparisons were made, by kind

    def add(self, kind: str, example: str, count: int = 1) -> None:
        self.counts[kind] += count
        found = self.examples.setdefault(kind, [])
        if len(found) < _EXAMPLES:
            found.append(example)

    def add_all(self, kind: str, examples: Iterable[str]) -> None:
        for example in examples:
            self.add(kind, example)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __str__(self) -> str:
        lines = []
        for kind, count in self.counts.items():
            lines.append(f"WRONG: {kind}: {count:,}")
            lines += (f"    {example}" for example in self.examples[kind])
        return "\n".join(lines)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
