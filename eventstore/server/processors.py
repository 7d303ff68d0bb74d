"""How many processors there are to work with: of this machine, or of the cluster that it is told of."""

import os
from contextlib import suppress
from pathlib import Path

from eventstore.server.errors import ServerError

VARIABLE = "EVENTSTORE_CPUS"
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def processors(quota: Path = _QUOTA) -> int:
    """What EVENTSTORE_CPUS says, else those that this process may use; a container may have a quota."""
    said = os.environ.get(VARIABLE, "").strip()
    if said:
        if not (said.isascii() and said.isdecimal() and 1 <= int(said[:6]) <= 10_000):
            raise ServerError(
                f"{VARIABLE} is not a number of processors: give a whole number from 1 to 10000"
            )
        return int(said)
    usable = os.cpu_count() or 1
    with suppress(AttributeError, OSError):  # macOS and Windows have no affinity
        usable = len(os.sched_getaffinity(0))
    return max(1, min(usable, _quota(quota) or usable))


def _quota(file: Path) -> int | None:
    """Whole processors of the quota of cgroups v2: ``200000 100000`` are two."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        most, period = file.read_text().split()
        return max(1, int(most) // int(period))
    return None
