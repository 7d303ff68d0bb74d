"""The release before this one: its tree, out of the repository, and its command line."""

import os
import subprocess
import sys
import tarfile
import time
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: The last commit with the indexes of before revision 0015.
COMMIT = "1a067d975d"


def tree(folder: Path) -> Path | None:
    """Its files below ``folder``; None where the repository does not have them."""
    packed = subprocess.run(
        ["git", "archive", COMMIT, "eventstore"], cwd=ROOT, capture_output=True, check=False
    )
    if packed.returncode:
        return None
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def seconds_to_ingest(code: Path, url: str, file: Path) -> float:
    """How long ``eventstore ingest`` of the code in a folder takes, into a new database at ``url``."""
    _run(code, url, "init")
    started = time.perf_counter()
    _run(code, url, "ingest", str(file))
    return time.perf_counter() - started


def _run(code: Path, url: str, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-c", "from eventstore.face.cli import main; main()", *arguments, "--json"],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code), "DATABASE_URL": url},
        check=True,
        capture_output=True,
    )
