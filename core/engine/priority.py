"""Standing back for the editor when both want the processor."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

NICENESS = 5
"""On POSIX, a process of this niceness gets a quarter of a core that one other wants."""

_AUTOGROUP = Path("/proc/self/autogroup")
"""Linux shares the processor among sessions first, and weighs niceness only within one.

The niceness of a whole session is written here; see sched(7), "The autogroup feature". The file is
missing where the kernel has no such groups.
"""


def stand_back() -> None:
    """Let others have the processor before this process, and before its session if it leads one."""
    if not hasattr(os, "nice"):  # Windows
        return
    os.nice(NICENESS)
    # In a session that somebody else leads, a terminal's for example, its programs would all stand back.
    if os.getsid(0) == os.getpid() and _AUTOGROUP.exists():
        try:
            _AUTOGROUP.write_text(str(NICENESS))
        except OSError as error:
            log.info("the session keeps its claim on the processor: %s", error)
