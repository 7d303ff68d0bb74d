"""The runbook, taken apart; and what the code has that it must speak of."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.snippets import ROOT, Snippet, snippets
from tests.parsing import parsed

PAGE = ROOT / "docs" / "runbook.md"
_HEADING = re.compile(r"^### `(.+)`$", re.MULTILINE)


def entries() -> dict[str, list[Snippet]]:
    """The name of each entry, with its blocks of commands."""
    _, *parts = _HEADING.split(PAGE.read_text("utf-8"))
    names, texts = parts[::2], parts[1::2]
    assert len(set(names)) == len(names), "each name has one entry"
    return {name: snippets(text) for name, text in zip(names, texts, strict=True)}


def to_be_carried_out() -> set[str]:
    """The entries with commands that are run."""
    return {name for name, blocks in entries().items() if any(not block.not_run for block in blocks)}


def codes() -> set[str]:
    """Of every verdict that the code makes: what it writes for ``code`` in a call of Verdict, or of a
    function that takes a code and returns a verdict.
    """
    found: set[str] = set()
    for tree in _modules():
        position = {"Verdict": None} | {
            node.name: names.index("code")
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            and isinstance(node.returns, ast.Name)
            and node.returns.id == "Verdict"
            and "code" in (names := [arg.arg for arg in node.args.args])
        }
        for call in ast.walk(tree):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
                continue
            if call.func.id not in position:
                continue
            at = position[call.func.id]
            given = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
            given += [call.args[at]] if at is not None and len(call.args) > at else []
            for value in given:
                found |= set(_texts(value, tree))
    return found


def alerts() -> set[str]:
    """The entries that the code names itself, for what is neither a verdict nor a check."""
    return {
        str(text)
        for tree in _modules()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "entry"
        for text in (arg.value for arg in call.args if isinstance(arg, ast.Constant))
    }


def _texts(value: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The texts that an expression can be; a variable is followed to what it was set to."""
    if isinstance(value, ast.Constant):
        yield str(value.value)
    elif isinstance(value, ast.IfExp):
        yield from _texts(value.body, tree)
        yield from _texts(value.orelse, tree)
    elif isinstance(value, ast.Name):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == value.id for target in node.targets
            ):
                yield from _texts(node.value, tree)
    else:
        raise TypeError(f"a code is to be written as a text: {ast.unparse(value)}")


def _modules() -> Iterator[ast.Module]:
    for folder in ("eventstore", "pipelines"):
        for file in sorted(Path(ROOT / folder).rglob("*.py")):
            yield parsed(file.read_text("utf-8"))
