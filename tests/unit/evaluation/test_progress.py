from __future__ import annotations

import pytest

from core.evaluation.progress import Progress, Tracker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def follow(total: int) -> tuple[Tracker, Clock, list[Progress]]:
    clock, reports = Clock(), list[Progress]()
    return Tracker(total, reports.append, clock), clock, reports


def test_the_estimate_leaves_the_start_of_the_engine_out() -> None:
    tracker, clock, reports = follow(4)
    clock.now += 60
    tracker.step("cases")
    clock.now += 2
    tracker.step("cases")
    assert [one.remaining for one in reports] == [None, pytest.approx(4)]
    assert [(one.done, one.total) for one in reports] == [(1, 4), (2, 4)]


def test_results_of_an_earlier_run_do_not_spoil_the_estimate() -> None:
    tracker, clock, reports = follow(10)
    for _ in range(6):
        tracker.step("cases", measured=False)
    tracker.step("cases")
    clock.now += 5
    tracker.step("cases")
    assert reports[-1].remaining == pytest.approx(10)
