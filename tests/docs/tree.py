"""A copy of the repository to which the patches of a page are applied."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.docs.snippets import ROOT

_COPIED = (
    "eventstore",
    "pipelines",
    "tests",
    "docs",
    "README.md",
    "CONTRIBUTING.md",
    "pyproject.toml",
    "workspace.yaml",
    "Makefile",
)


def recipes() -> dict[str, str]:
    """The patches of docs/extending.md by the headings above them, in the order of the page."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    return dict(
        re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```diff\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    )


class Tree:
    """A copy in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (ROOT / name).exists():
                shutil.copy2(ROOT / name, folder / name)

    def apply(self, patch: str) -> None:
        """As by hand: a migration follows the newest, and other changes nearby do not matter."""
        done = subprocess.run(
            ["git", "apply", "-C1", "-"],
            cwd=self.folder,
            input=self._following(patch),
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"the patch does not apply:\n{done.stderr}\n{patch}"

    def _following(self, patch: str) -> str:
        """The patch; a migration in it follows the newest one that there is, as `make revision` has it."""
        versions = self.folder / "eventstore" / "log" / "schema" / "versions"
        text = "\n".join(path.read_text(encoding="utf-8") for path in versions.glob("*.py"))

        def ids(name: str) -> set[str]:
            lines = re.findall(rf"^{name} = .*$", text, re.MULTILINE)
            return {each for line in lines for each in re.findall(r'"(.+?)"', line)}

        [newest] = ids("revision") - ids("down_revision")
        return re.sub(r"^\+down_revision = .*$", f'+down_revision = "{newest}"', patch, flags=re.MULTILINE)
