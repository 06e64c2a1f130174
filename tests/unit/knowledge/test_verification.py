from __future__ import annotations

import pytest

from core import sandbox
from core.cancellation import CancelToken
from core.errors import Cancelled, RejectedTask
from core.knowledge.task import Task
from core.knowledge.verification import verify

ADD = "def add(a, b):\n    return a + b"


def task(tests: str | None, implementation: str = ADD, language: str = "python") -> Task:
    return Task(id="t", description="add two numbers", implementation=implementation, tests=tests, language=language)


@pytest.mark.parametrize("tests", ["assert add(1, 2) == 3", ">>> add(1, 2)\n3"])
def test_tests_that_pass_verify_a_task_and_weak_protection_is_named(tests: str) -> None:
    verdict = verify(task(tests), CancelToken())
    assert verdict.verified
    protection = sandbox.available_protection()
    assert verdict.note is None if protection.isolated else protection.words in str(verdict.note)


def test_a_failing_test_is_named_with_the_way_out() -> None:
    with pytest.raises(RejectedTask, match=r"assert add\(1, 2\) == 4[^$]*teach it without tests"):
        verify(task("assert add(1, 2) == 4"), CancelToken())


def test_code_that_does_not_parse_is_not_run() -> None:
    with pytest.raises(RejectedTask, match="implementation is not valid Python"):
        verify(task("assert True", "def add(:"), CancelToken())


@pytest.mark.parametrize("tests", [">>> add(1,\n3", ">>>add(1, 2)\n3"])
def test_an_interactive_session_that_does_not_parse_is_not_run(tests: str) -> None:
    with pytest.raises(RejectedTask, match="tests"):
        verify(task(tests), CancelToken())


def test_without_tests_nothing_is_verified() -> None:
    assert not verify(task(None), CancelToken()).verified


def test_tests_in_another_language_are_kept_and_said_to_be_unrun() -> None:
    verdict = verify(task("expect(add(1, 2)).toBe(3)", "add = (a, b) => a + b", "javascript"), CancelToken())
    assert not verdict.verified
    assert "javascript" in str(verdict.note)


def test_a_cancelled_verification_stops() -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        verify(task("assert True"), token)
