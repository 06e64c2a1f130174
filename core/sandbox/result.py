"""What a run may use, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.sandbox.protection import Protection

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use."""

    wall_seconds: float = 10.0
    cpu_seconds: int = 10
    """Processor time of one process."""
    memory: int = 512 * MEGABYTE
    """Bytes of address space of one process."""
    processes: int = 16
    """Processes and threads at the same time."""
    disk: int = 16 * MEGABYTE
    """Bytes in the throw-away folder; where that cannot be mounted, of one file."""
    output: int = 256 * 1024
    """Bytes of standard output and standard error together."""


class Outcome(StrEnum):
    """How a run ended."""

    PASSED = "passed"
    """The code and all its tests ran to their end."""
    FAILED = "failed"
    """An assertion failed, an error was raised, or the process ended before its tests."""
    TIMEOUT = "timeout"
    """It took too long, by the clock or in processor time."""
    KILLED = "killed"
    """It crashed or broke another limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """What came of a run."""

    outcome: Outcome
    problem: str | None = None
    """For people: the failing assertion with its line, the error, or the limit that was broken."""
    output: str = ""
    """What was printed, up to the limit."""
    seconds: float
    protection: Protection
    unlimited: tuple[str, ...] = ()
    """Limits that this system could not set."""

    @property
    def passed(self) -> bool:
        """Whether the tests have passed."""
        return self.outcome is Outcome.PASSED
