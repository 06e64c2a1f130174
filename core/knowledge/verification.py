"""Running a task's tests before it is believed."""

from __future__ import annotations

from dataclasses import dataclass

from core import sandbox
from core.cancellation import CancelToken
from core.errors import RejectedTask, SandboxFailed
from core.knowledge import validation
from core.knowledge.task import Task
from core.sandbox import Limits

LIMITS = Limits(wall_seconds=5, cpu_seconds=5)
"""A person waits for the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of a task after its tests."""

    verified: bool
    """Whether its tests were run and have passed."""
    note: str | None = None
    """For people: why they were not run, or with how little protection they were."""


def verify(task: Task, token: CancelToken) -> Verdict:
    """Run a task's tests, if it has some, in the sandbox; takes up to a few seconds.

    Raises:
        InvalidParams: A field is empty, too long or no text.
        RejectedTask: Code does not parse, or a test fails; the message names it.
        Cancelled: The token was set.
    """
    validation.check(task)
    if not task.tests:
        return Verdict(verified=False)
    if task.language != "python":
        return Verdict(verified=False, note=f"The tests are kept but were not run: they are in {task.language}.")
    try:
        result = sandbox.run(task.implementation, task.tests, limits=LIMITS, token=token)
    except SandboxFailed as error:
        return Verdict(verified=False, note=f"The tests are kept but were not run. {error.message}")
    if not result.passed:
        raise RejectedTask(
            f"The tests do not pass: {result.problem} Nothing was stored. "
            "Correct the implementation or the tests and teach it again, or teach it without tests.",
            field="tests",
        )
    weak = None if result.protection.isolated else f"The tests have passed. {result.protection.words}"
    return Verdict(verified=True, note=weak)
