"""The list of mutants: ``lists/*.toml``, a file a part of the system."""

from pathlib import Path

import msgspec

from tests.parsing import parsed

ROOT = Path(__file__).parents[2]
_LISTS = Path(__file__).parent / "lists"


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that stands in the file once, and what takes its place."""

    find: str
    put: str = ""


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str  #: what is done to the code
    promise: str  #: what then no longer holds
    file: str | None = None  #: by default that of the list
    find: str | None = None
    put: str = ""
    changes: list[Change] = []  #: further ones, one after the other
    tests: list[str] | None = None  #: by default those of the list
    explained: str | None = None  #: why no test can notice it


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    file: str | None = None
    tests: list[str]  #: of this part, those that notice most first
    mutant: list[_Entry]


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    part: str
    name: str
    promise: str
    file: str
    changes: list[Change]
    tests: tuple[str, ...]
    explained: str | None

    def mutated(self, text: str) -> str:
        """The file with the changes. Raises StaleError where it is not any more what they were made for."""
        for change in self.changes:
            times = text.count(change.find)
            if times != 1:
                raise StaleError(
                    f"{self.part}: {self.name}: found {times} times in {self.file}: {change.find}"
                )
            text = text.replace(change.find, change.put)
        if self.file.endswith(".py"):
            parsed(text)
        return text


class StaleError(Exception):
    """The code has changed since the mutant was written."""


def mutants() -> list[Mutant]:
    """All of them, by part."""
    found = []
    for path in sorted(_LISTS.glob("*.toml")):
        part = msgspec.toml.decode(path.read_bytes(), type=_Part)
        for entry in part.mutant:
            file = entry.file or part.file
            changes = [*([Change(entry.find, entry.put)] if entry.find else []), *entry.changes]
            if file is None or not changes:
                raise StaleError(f"{path.name}: {entry.name}: no file, or nothing to find in it")
            found.append(
                Mutant(
                    part=path.stem,
                    name=entry.name,
                    promise=entry.promise,
                    file=file,
                    changes=changes,
                    tests=tuple(entry.tests or part.tests),
                    explained=entry.explained,
                )
            )
    return found
