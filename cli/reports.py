"""What `doctor` and `demo` find out: types only, for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from core.messages import Timings


class Verdict(StrEnum):
    """How one check ended."""

    OK = "ok"
    WARNING = "warning"
    """Works, but a person may want to know."""
    PROBLEM = "problem"
    """Something needed is missing or broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing `doctor` looked at."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str | None = None
    """The command that mends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """A processor that can run models; sizes in bytes."""

    kind: str
    """`cuda`, `mps` or `cpu`."""
    name: str
    total: int | None = None
    free: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The computer as `doctor` finds it; sizes in bytes."""

    platform: str
    cores: int
    memory_total: int
    memory_available: int
    disk_free: int
    devices: list[DeviceInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFit:
    """Whether a model set can be used on this machine."""

    name: str
    summary: str
    bytes: int
    installed: bool
    fits: bool
    reason: str
    """Where it would run, or what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """Result of `doctor`."""

    healthy: bool
    """False if any check found a problem."""
    version: str
    python: str
    data_folder: str
    machine: Machine
    packages: dict[str, str]
    """Installed version of each package the application needs; empty if missing."""
    sets: list[SetFit]
    checks: list[Check]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStep:
    """One step of the demo: what it claims, and whether that came true."""

    title: str
    passed: bool
    seconds: float
    timings: Timings | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """Result of `demo`."""

    passed: bool
    seconds: float
    steps: list[DemoStep] = field(default_factory=list)
    process_bytes: int | None = None
    """Memory of the engine at the end."""
    kept: str | None = None
    """Folder with the demo's data and logs, kept because a step failed."""
    next_steps: list[str] = field(default_factory=list)
    """Commands to go on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferChange:
    """What an edit did to an open document."""

    name: str
    before: str
    after: str
