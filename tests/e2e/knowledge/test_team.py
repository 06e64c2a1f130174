"""Threads that share a call do every item once, and a call never waits for a helper that is not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from llvmlite import ir

from core.knowledge.team import Team, define_help, define_shared
from core.llvm import I64, POINTER, Library, at, constant, counting, define, load, store

pytestmark = pytest.mark.e2e

STEPS, MOST = 50, 3


@pytest.fixture(scope="module")
def library() -> Library:
    """Return `double`, a call of many steps, each of which doubles all numbers and adds their place."""
    module = ir.Module("doubling")

    def double(builder: ir.IRBuilder, arguments: Sequence[ir.Value], first: ir.Value, last: ir.Value) -> None:
        with counting(builder, first, last) as index:
            place = at(builder, arguments[0], index, 8)
            value = load(builder, place, I64)
            store(builder, builder.add(builder.add(value, value), index), place)

    step = define_shared(module, "step", [POINTER, I64], count=1, emit=double)
    builder, (numbers, board, count) = define(module, "double", [POINTER, POINTER, I64])
    with counting(builder, 0, constant(I64, STEPS)):
        builder.call(step, [numbers, count, board])
    builder.ret_void()
    define_help(module)
    return Library(module)


@pytest.fixture
def releases() -> Iterator[list[threading.Event]]:
    """Return where to put what helpers wait for; nothing waits after the test."""
    events: list[threading.Event] = []
    yield events
    for event in events:
        event.set()


def doubled(team: Team, library: Library, count: int, threads: int) -> list[int]:
    numbers = np.zeros(count, np.int64)
    with team.board(STEPS, threads) as board:
        library.function("double", 2, 1)(numbers.ctypes.data, board, count)
    return numbers.tolist()


def expected(count: int) -> list[int]:
    return [(index * (2**STEPS - 1) + 2**63) % 2**64 - 2**63 for index in range(count)]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 1000])
def test_every_item_is_done_once_in_every_step(library: Library, count: int, threads: int) -> None:
    team = Team(MOST, library.function("help", 1, 0))
    assert all(doubled(team, library, count, threads) == expected(count) for _ in range(100))


def test_helpers_take_part(library: Library) -> None:
    helped = threading.Event()
    help_ = library.function("help", 1, 0)

    def work(board: int) -> None:
        help_(board)
        helped.set()

    team = Team(2, work)
    with team.board(STEPS, 2) as board:
        numbers = np.zeros(100, np.int64)
        library.function("double", 2, 1)(numbers.ctypes.data, board, 100)
        assert helped.wait(30)  # all steps were posted, and it has looked at each


def test_a_call_is_done_though_no_helper_comes(library: Library, releases: list[threading.Event]) -> None:
    never = threading.Event()
    releases.append(never)
    team = Team(MOST, lambda _: never.wait() and None)
    assert doubled(team, library, 1000, MOST) == expected(1000)


def test_a_helper_that_comes_after_the_call_leaves_again(library: Library, releases: list[threading.Event]) -> None:
    begin, over = threading.Event(), threading.Event()
    releases.append(begin)
    help_ = library.function("help", 1, 0)

    def come_late(board: int) -> None:
        begin.wait()
        help_(board)
        over.set()

    team = Team(2, come_late)
    with team.board(STEPS, 2):
        pass  # a call that fails before its first step
    begin.set()
    assert over.wait(30)


def test_calls_of_two_teams_do_not_disturb_each_other(library: Library) -> None:
    teams = [Team(2, library.function("help", 1, 0)) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        both = threads.map(lambda team: [doubled(team, library, 300, 2) for _ in range(200)], teams)
        assert all(one == expected(300) for results in both for one in results)
