"""``make recipes``: follow all recipes of docs/extending.md in a copy, then test what they touch."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.docs.snippets import ROOT
from tests.docs.tree import Tree, recipes

_PARTS = ("tests/engine", "tests/face", "tests/ingestion", "tests/pipelines", "tests/seals")
_ALL = ("-n", "2", "--dist", "loadgroup", *_PARTS)
_OURS = ("PYTEST_", "EVENTSTORE_", "DAGSTER_", "COV_")


def main(arguments: Sequence[str]) -> int:
    """Ask of the code what is asked of a commit, with ``arguments`` for pytest in place of all parts."""
    with tempfile.TemporaryDirectory(prefix="eventstore-recipes-") as folder:
        tree = all_recipes(Path(folder))
        checks = (
            ["ruff", "check", "eventstore"],
            ["ruff", "format", "--check", "eventstore"],
            ["mypy", "eventstore", "pipelines"],
            ["pytest", "-q", "-m", "not dagster", *(arguments or _ALL)],
        )
        codes = [run(tree, *check).returncode for check in checks]
    return max(codes)


def all_recipes(folder: Path) -> Tree:
    """A copy of the repository in which every recipe was followed, in the order of the page."""
    tree = Tree(folder / "tree")
    for patch in recipes().values():
        tree.apply(patch)
    written = run(tree, "tests.docs", quiet=True)  # as the page says: make docs
    assert written.returncode == 0, written.stdout
    data = ROOT.parent / "shared"  # data for tests lies beside a repository
    if data.is_dir():
        (folder / data.name).symlink_to(data)
    return tree


def run(tree: Tree, *command: str, quiet: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run a tool of Python's in a copy, on a server of its own where DATABASE_URL does not name one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    server = os.environ.get("EVENTSTORE_TEST_SERVER")  # of the tests that this is one of
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tree.folder,
        env=environment | {"PYTHONPATH": str(tree.folder)} | ({"DATABASE_URL": server} if server else {}),
        text=True,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
