"""What the pages have in common."""

from collections.abc import Iterable, Sequence

MADE = "<!-- Made by `make docs` from the code: change it there. -->\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def sentence(text: str) -> str:
    """``text`` as a sentence: a capital first, where that is a word, and a full stop last."""
    text = " ".join(text.split())
    if text.partition(" ")[0].isalpha():
        text = text[:1].upper() + text[1:]
    return text if text[-1:] in ".:!?" else f"{text}."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
