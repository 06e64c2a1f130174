"""How many processors are free."""

from __future__ import annotations

from core.cores import free_cores, running_threads, usable_cores


def test_running_threads_are_read_from_what_the_system_says() -> None:
    assert running_threads("0.20 1.18 10.12 3/811 11206\n") == 3


def test_there_is_always_a_core_for_who_asks_and_never_more_than_may_be_used() -> None:
    assert 1 <= free_cores() <= usable_cores()
