"""What a process did, in a file that outlives its kill -9: a line a fact, in the form that COPY reads."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_BLOCK = 1 << 20

#: The kinds of journals, and the columns of their lines.
KINDS = {
    "sent": "tag text, tx text, order_id uuid, event_type text, event_data jsonb, created_at bigint, "
    "source text, source_id text",
    "recorded": "tag text, tx text, order_id uuid, version int, id uuid",
    "outcome": "tx text, what text",
    "shown": "consumer text, id uuid, order_id uuid, version int",
    "done": "role text, what text",
    "trouble": "process text, what text",
}


class Journal:
    """Each line is with the operating system before the next thing is done."""

    def __init__(self, folder: Path, kind: str, process: str) -> None:
        path = folder / "journals" / kind / process
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, *lines: tuple[Any, ...]) -> None:
        text = "".join("\t".join(map(_field, line)) + "\n" for line in lines)
        os.write(self._file, text.encode())


def _field(value: Any) -> str:
    return "\\N" if value is None else str(value).translate(_ESCAPES)


def files(folder: Path, kind: str) -> list[Path]:
    """The journals of a kind; those of one role by number, then by incarnation."""
    found = (folder / "journals" / kind).glob("*")
    return sorted(found, key=lambda path: (_role(path.name), int(path.suffix[1:])))


def _role(process: str) -> str:
    """Of "writer-3.2", the second successor of the writer 3: "writer-3"."""
    return process.rpartition(".")[0]


def whole_lines(path: Path, start: int = 0) -> Iterator[bytes]:
    """Blocks of whole lines from a byte on. Of a line that was cut short by a kill nothing had followed."""
    with path.open("rb") as file:
        file.seek(start)
        rest = b""
        while block := file.read(_BLOCK):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                yield lines + newline


def records(path: Path) -> Iterator[list[str]]:
    for block in whole_lines(path):
        for line in block.decode().splitlines():
            yield line.split("\t")
