"""Standing back for the editor when both want the processor."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

NICENESS = 10
"""On POSIX, a process of this niceness gets a tenth of a core that one other wants."""

_AUTOGROUP = "/proc/{pid}/autogroup"
"""Linux shares the processor among sessions first, and weighs niceness only within one.

The niceness of a whole session is written here; see sched(7), "The autogroup feature". The file is
missing where the kernel has no such groups.
"""


def stand_back(pid: int) -> None:
    """Let others have the processor before a process, and before its session if it leads one.

    Whoever starts the process does this, at once: by itself it could only after a second of imports.
    """
    if not hasattr(os, "setpriority"):  # Windows
        return
    try:
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid) + NICENESS)
        # In a session that somebody else leads, a terminal's for example, its programs would all stand back.
        autogroup = Path(_AUTOGROUP.format(pid=pid))
        if os.getsid(pid) == pid and autogroup.exists():
            autogroup.write_text(str(NICENESS))
    except OSError as error:
        log.info("process %d keeps its claim on the processor: %s", pid, error)
