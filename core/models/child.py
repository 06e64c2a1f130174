"""Child processes for slow work: fetching and converting.

A child prints `Progress N of M` lines (as pip does with `--progress-bar raw`); what it has to
say when it fails is on its standard error. Killing it is how such work is cancelled, and the
process that asked for it is never slowed down by it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from ai_codegen_assistant import BUNDLE
from core.cancellation import CancelToken
from core.errors import AssistantError

_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
OWN_ERROR = 3
"""Exit status of our own children when the last line of their standard error is an error as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a child ended."""

    status: int
    errors: str
    """Its standard error."""


def run_python(
    arguments: Sequence[str],
    on_progress: Callable[[float], None],
    token: CancelToken,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run this Python with `arguments` until it ends.

    Args:
        arguments: What follows `python`.
        on_progress: Called with the fraction done, 0 to 1.
        token: Kills the child when cancelled.
        environment: Variables to add.

    Raises:
        Cancelled: The token was set.
    """
    token.raise_if_cancelled()
    command = [sys.executable, "-P", *arguments]
    variables = {**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, env=variables, text=True
        ) as child:
            token.on_cancel(child.kill)
            assert child.stdout is not None
            _follow(child.stdout, on_progress)
        token.raise_if_cancelled()
        errors.seek(0)
        return Finished(status=child.returncode, errors=errors.read())


def run_module(
    module: str,
    arguments: Sequence[str],
    on_progress: Callable[[float], None],
    token: CancelToken,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run one of our own modules, in a checkout or from an installed wheel.

    Raises:
        AssistantError: What the module reported with `fail`, or that it died.
        Cancelled: The token was set.
    """
    path = os.pathsep.join(filter(None, [str(BUNDLE), os.environ.get("PYTHONPATH")]))
    finished = run_python(["-m", module, *arguments], on_progress, token, {**(environment or {}), "PYTHONPATH": path})
    if finished.status:
        raise _reported(module, finished)


def report_progress(done: int, total: int) -> None:
    """Tell the parent process how far this child has got."""
    print(f"Progress {done} of {total}", flush=True)  # noqa: T201 - the protocol with the parent


def fail(error: AssistantError) -> int:
    """Tell the parent process what went wrong; returns the exit status."""
    print("\n" + json.dumps(error.to_wire()), file=sys.stderr, flush=True)  # noqa: T201 - see above
    return OWN_ERROR


def _follow(output: IO[str], on_progress: Callable[[float], None]) -> None:
    for line in output:
        if match := _PROGRESS.match(line):
            done, total = int(match[1]), int(match[2])
            on_progress(min(1.0, done / total) if total else 0.0)


def _reported(module: str, finished: Finished) -> AssistantError:
    lines = finished.errors.strip().splitlines() or ["no message"]
    if finished.status == OWN_ERROR:
        return AssistantError.from_wire(json.loads(lines[-1]))
    return AssistantError(f"{module} ended with the status {finished.status}: {lines[-1]}", log=lines[-20:])
