"""Exit statuses of the command line: part of its interface, listed in `--help`."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from cli.reports import DemoReport, DoctorReport
from core.errors import AssistantError
from core.messages import Generation


class ExitCode(IntEnum):
    """What a command's end says to the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNKNOWN_TASK = 3
    ENGINE_UNAVAILABLE = 4
    MODEL_MISSING = 5
    NOT_FOUND = 6
    INTERRUPTED = 130


EXPLAINED = """\
exit status:
  0  done
  1  failed, or something that is needed is missing (doctor, demo)
  2  the command line or an input is not usable
  3  the task is unknown: nothing stored is close enough
  4  the engine cannot be started or reached, or is busy
  5  a model is missing or damaged
  6  no such file, task or conversation
  130  interrupted (Ctrl-C)
"""

_OF_ERROR = {
    "usage": ExitCode.USAGE,
    "invalidParams": ExitCode.USAGE,
    "engineUnavailable": ExitCode.ENGINE_UNAVAILABLE,
    "engineBusy": ExitCode.ENGINE_UNAVAILABLE,
    "modelMissing": ExitCode.MODEL_MISSING,
    "modelDamaged": ExitCode.MODEL_MISSING,
    "notFound": ExitCode.NOT_FOUND,
    "cancelled": ExitCode.INTERRUPTED,
}


def of_error(error: AssistantError) -> ExitCode:
    """Return the status of a command that ended with `error`."""
    return _OF_ERROR.get(error.code, ExitCode.FAILED)


def of_result(result: Any) -> ExitCode:
    """Return the status of a command that ended with `result`."""
    if isinstance(result, Generation) and result.status == "unknown":
        return ExitCode.UNKNOWN_TASK
    if isinstance(result, DoctorReport) and not result.healthy:
        return ExitCode.FAILED
    if isinstance(result, DemoReport) and not result.passed:
        return ExitCode.FAILED
    return ExitCode.OK
