"""Starting a sandbox, watching it, and saying what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import psutil

from core.cancellation import CancelToken
from core.errors import SandboxFailed
from core.sandbox import harness
from core.sandbox.protection import Protection, gives_up_root, is_root, plan_launch
from core.sandbox.result import Limits, Outcome, SandboxResult

REPORT_LIMIT = 64 * 1024
"""Bytes read of what the harness reports, or of why it did not start."""
GRACE = 5.0
"""Seconds that a process gets to end when told to."""
SIGNAL_STATUS = 128
"""A shell's status for a process that a signal has ended is this plus the signal."""


def run(
    code: str,
    tests: str,
    *,
    limits: Limits | None = None,
    token: CancelToken | None = None,
    protection: Protection | None = None,
) -> SandboxResult:
    """Run code and then tests on it; blocks until it has ended.

    Args:
        code: A module.
        tests: Statements (mostly assertions) or an interactive session, run in the module's
            names. May be empty.
        limits: What the run may use.
        token: Ends the run when cancelled.
        protection: Asks for one; the best there is by default.

    Raises:
        Cancelled: The token was set; nothing of the run is left.
        SandboxFailed: The sandbox itself could not be started.
    """
    limits, token = limits or Limits(), token or CancelToken()
    token.raise_if_cancelled()
    return _run(code, tests, limits, token, protection or available_protection())


@cache
def available_protection() -> Protection:
    """Return the best protection that works here; found by trying, once.

    That a program is installed says little: many systems forbid it to make namespaces.
    """
    return next((one for one in Protection if _works(one)), Protection.TIME)


def _works(protection: Protection) -> bool:
    if protection is Protection.TIME:
        return True
    try:
        return _run("import decimal", "", Limits(), CancelToken(), protection).passed
    except SandboxFailed:
        return False


def _run(code: str, tests: str, limits: Limits, token: CancelToken, protection: Protection) -> SandboxResult:
    nonce = uuid.uuid4().hex
    request = {
        "nonce": nonce,
        "code": code,
        "tests": tests,
        "limits": _resource_limits(limits, protection),
        "drop": gives_up_root(protection),
        "paths": [path for path in sys.path if Path(path).name == "site-packages"],
    }
    with _throw_away_folder() as folder:
        ended = _execute(json.dumps(request).encode(), folder, limits, token, protection)
    token.raise_if_cancelled()
    records = list(_records(ended.report, nonce))
    if not records:
        said = ended.report.decode(errors="replace").strip()
        raise SandboxFailed(f"The sandbox ({protection}) could not be started: {said or f'status {ended.status}'}.")
    outcome, problem = _judge(ended, records[1:], limits)
    return SandboxResult(
        outcome=outcome,
        problem=problem,
        output=ended.output.decode(errors="replace"),
        seconds=ended.seconds,
        protection=protection,
        unlimited=tuple(_LIMITED[name] for name in _LIMITED if name in _not_set(records[0], request)),
    )


@contextlib.contextmanager
def _throw_away_folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="sandbox-")
    Path(folder).chmod(0o777 if is_root() else 0o700)  # when we are root, the code is nobody
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_LIMITED = {
    "RLIMIT_CPU": "processor time",
    "RLIMIT_AS": "memory",
    "RLIMIT_NPROC": "processes",
    "RLIMIT_FSIZE": "file size",
    "RLIMIT_CORE": "memory dumps",
    "RLIMIT_NOFILE": "open files",
}


def _not_set(started: dict[str, Any], request: dict[str, Any]) -> set[str]:
    """Return the limits that do not hold: the system never counts the processes of root."""
    uncounted = {"RLIMIT_NPROC"} if is_root() and not request["drop"] else set()
    return uncounted | set(started["unlimited"])


def _resource_limits(limits: Limits, protection: Protection) -> dict[str, int]:
    """Return the limits by the names of the system's resources."""
    return {
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_AS": limits.memory,
        "RLIMIT_NPROC": limits.processes + _processes_counted_too(protection),
        "RLIMIT_FSIZE": limits.disk,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 256,
    }


def _processes_counted_too(protection: Protection) -> int:
    """Return how many processes and threads of the same user the system will count as well.

    The limit holds per user. In a user namespace only what is in it counts, but root makes none.
    """
    if protection.isolated and not is_root():
        return 0
    user = harness.NOBODY if is_root() else os.getuid() if hasattr(os, "getuid") else None
    found = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, AttributeError):
            found += process.num_threads() if process.uids().real == user else 0
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """A process that has ended or was ended."""

    status: int
    """Negative or above 128 for a signal."""
    output: bytes
    report: bytes
    overflow: bool
    late: bool
    seconds: float


class _Reader(threading.Thread):
    """Keeps the beginning of what a pipe brings; calls `on_overflow` when there is more."""

    def __init__(self, pipe: IO[bytes] | None, limit: int, on_overflow: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.data = b""
        self.overflow = False
        assert pipe is not None
        self._pipe = pipe
        self._limit = limit
        self._on_overflow = on_overflow
        self.start()

    def run(self) -> None:
        """Read to the end, so that the writer is never blocked."""
        while piece := os.read(self._pipe.fileno(), 1 << 16):
            room = self._limit - len(self.data)
            self.data += piece[:room]
            if len(piece) > room and not self.overflow:
                self.overflow = True
                self._on_overflow()


class _Watchdog(threading.Thread):
    """Ends a process when its time is over, or earlier when told to."""

    def __init__(self, process: subprocess.Popen[bytes], ending: signal.Signals, seconds: float) -> None:
        super().__init__(daemon=True)
        self.late = False
        self._process = process
        self._ending = ending
        self._seconds = seconds
        self._due = threading.Event()
        self._ended = threading.Event()
        self.start()

    def stop(self) -> None:
        """End the process now."""
        self._due.set()

    def run(self) -> None:
        """Wait; then ask the process to end, and insist."""
        self.late = not self._due.wait(self._seconds)
        if not self._ended.is_set():
            self._process.send_signal(self._ending)
        if not self._ended.wait(GRACE):
            _kill_group(self._process)

    def leave(self) -> None:
        """Do nothing any more: the process has ended."""
        self._ended.set()
        self._due.set()
        self.join()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end, but leave the process its number, so that a late signal hits no other."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:
        process.wait()


def _execute(request: bytes, folder: str, limits: Limits, token: CancelToken, protection: Protection) -> _Ended:
    launch = plan_launch(protection, folder, limits.disk)
    program = Path(harness.__file__).read_text(encoding="utf-8")
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            [*launch.command, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=launch.environment,
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxFailed(f"The sandbox ({protection}) could not be started: {error}.") from error
    watchdog = _Watchdog(process, launch.ending, limits.wall_seconds)
    token.on_cancel(watchdog.stop)
    output = _Reader(process.stdout, limits.output, watchdog.stop)
    report = _Reader(process.stderr, REPORT_LIMIT, watchdog.stop)
    _send(request, process)
    _wait(process)
    watchdog.leave()
    _kill_group(process)
    process.wait()
    output.join(GRACE)
    report.join(GRACE)
    return _Ended(
        status=process.returncode,
        output=output.data,
        report=report.data,
        overflow=output.overflow,
        late=watchdog.late,
        seconds=time.monotonic() - started,
    )


def _send(request: bytes, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it may have ended, which is found out later
        process.stdin.write(request)
    with contextlib.suppress(OSError):
        process.stdin.close()


def _records(report: bytes, nonce: str) -> Iterator[dict[str, Any]]:
    """Yield what the harness has reported, and nothing that somebody else wrote."""
    for line in report.splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and record.get("nonce") == nonce:
                yield record


def _judge(ended: _Ended, verdict: list[dict[str, Any]], limits: Limits) -> tuple[Outcome, str | None]:
    """Return the outcome and what to say about it."""
    if ended.overflow:
        return Outcome.KILLED, f"It printed more than {limits.output:,} bytes."
    if verdict:
        problem = verdict[0].get("problem")
        return (Outcome.PASSED, None) if problem is None else (Outcome.FAILED, str(problem))
    if ended.late:
        return Outcome.TIMEOUT, f"It had not ended after {limits.wall_seconds:g} seconds."
    ending = -ended.status if ended.status < 0 else ended.status - SIGNAL_STATUS
    if ending <= 0:
        return Outcome.FAILED, f"It ended before its tests were over (exit status {ended.status})."
    if ending == getattr(signal, "SIGXCPU", None):
        return Outcome.TIMEOUT, f"It used more than {limits.cpu_seconds} seconds of processor time."
    return Outcome.KILLED, f"It was ended by {_signal_name(ending)}."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
