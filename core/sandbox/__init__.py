"""Running code nobody vouches for, with tests, where it can do no harm.

`run` executes code and tests in a process of its own, in a throw-away folder, with limits on
time, memory, processes, files and output. What else the process is kept from depends on the
system, and every result says so (`Protection`).
"""

from core.sandbox.protection import Protection
from core.sandbox.result import Limits, Outcome, SandboxResult
from core.sandbox.runner import available_protection, run

__all__ = ["Limits", "Outcome", "Protection", "SandboxResult", "available_protection", "run"]
