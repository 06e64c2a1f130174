"""How many processors this program may use, and how many it may use now."""

from __future__ import annotations

import os
from pathlib import Path

_LOAD = Path("/proc/loadavg")
_RUNNING = 3
"""Which of its fields has the threads that want a processor at this moment, before a slash; see proc(5)."""


def usable_cores() -> int:
    """Return the number of processors that this process may run on, 1 or more."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_cores() -> int:
    """Return how many of them nobody else wants at this moment, that of the calling thread included; 1 or more.

    It is 1 where the system does not tell.
    """
    try:
        load = _LOAD.read_text()
    except OSError:  # not Linux
        return 1
    return max(1, min(usable_cores(), 1 + (os.cpu_count() or 1) - running_threads(load)))


def running_threads(load: str) -> int:
    """Return how many threads want a processor, by the text of `/proc/loadavg`; the reader is one of them."""
    return int(load.split()[_RUNNING].partition("/")[0])
