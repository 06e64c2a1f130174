"""Threads that share the work of one call of compiled code.

A pass through a sentence model is thirty steps of a tenth of a millisecond, each of which needs the
whole one before. Threads that sleep in between wake too late, and those of OpenMP that do not sleep
go on spinning after the last step and keep the processor from others. Helpers of a team spin between
the steps of a call and never outside of one, and nobody waits for a helper that has not come yet:
whoever is free takes the next share of a step. There are as many shares as threads: each is read
from memory in one go.

The steps of a call are posted on a board, memory that is made anew for each call, so that a helper
that comes too late finds one that is finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from llvmlite import ir

from core.llvm import (
    I32,
    I64,
    NOTHING,
    POINTER,
    Emit,
    at,
    constant,
    declare,
    define,
    define_part,
    load,
    move,
    processor,
)

_WORD = 8
_LINE = 64
"""Bytes that processors exchange at once; what different threads write is so far apart."""

_FINISHED, _POSTED, _WANTED, _STEPS = (_WORD * index for index in range(4))
"""In the first line of a board: whether the call is over; the steps so far; into how many shares each goes; most steps."""
_READY, _FUNCTION, _ITEMS, _PARTS = (_WORD * index for index in range(4))
"""In the first line of a step: whether it may begin; what does it; its items; into how many shares they go."""
_ARGUMENTS, _TAKEN, _DONE = (_LINE * index for index in range(1, 4))
"""The other lines of a step: at most 8 arguments; shares that somebody has taken, and those that are done."""
_STEP_BYTES = 4 * _LINE
_PART = ir.FunctionType(NOTHING, [POINTER, I64, I64])


class Team:
    """The calling thread and helpers, for one call at a time."""

    def __init__(self, most: int, help_: Callable[[int], None]) -> None:
        """Make a team; its threads start when they are needed first.

        Args:
            most: Threads, the calling one included.
            help_: What `define_help` defined.
        """
        self._most = most
        self._help = help_
        self._helpers = ThreadPoolExecutor(max(1, most - 1), thread_name_prefix="helper")

    @contextmanager
    def board(self, steps: int, threads: int) -> Iterator[int]:
        """Yield the address of a board for a call of at most so many steps, on which helpers are looking."""
        threads = min(threads, self._most)
        board = np.zeros((1 + steps * _STEP_BYTES // _LINE, _LINE // _WORD), np.int64)
        board[0, _WANTED // _WORD] = threads
        board[0, _STEPS // _WORD] = steps
        for _ in range(threads - 1):
            self._helpers.submit(self._assist, board)
        try:
            yield board.ctypes.data
        finally:
            board[0, _FINISHED // _WORD] = 1

    def _assist(self, board: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
        self._help(board.ctypes.data)  # the board lives as long as this call, whoever has finished before


def define_shared(module: ir.Module, name: str, kinds: Sequence[ir.Type], *, count: int, emit: Emit) -> ir.Function:
    """Define and return a function that is one step of a call; its last argument is the board.

    Args:
        module: Where to define it.
        name: Of the function.
        kinds: Of its arguments but the last: at most 8 pointers and 64-bit numbers.
        count: Which argument is the number of items that are shared.
        emit: Writes what is done for some of the items.
    """
    part = define_part(module, f"{name}_part", kinds, emit)
    work = _define_work(module)
    builder, arguments = define(module, name, [*kinds, POINTER])
    board, items = arguments[-1], arguments[count]
    posted = load(builder, move(builder, board, _POSTED), I64)
    builder.store(builder.add(posted, constant(I64, 1)), move(builder, board, _POSTED))
    step = _step(builder, board, posted)
    for index, value in enumerate(arguments[:-1]):
        builder.store(value, move(builder, step, _ARGUMENTS + _WORD * index))
    wanted = load(builder, move(builder, board, _WANTED), I64)
    parts = builder.select(builder.icmp_signed("<", items, wanted), items, wanted)
    builder.store(part, move(builder, step, _FUNCTION))
    builder.store(items, move(builder, step, _ITEMS))
    builder.store(parts, move(builder, step, _PARTS))
    builder.atomic_rmw("add", move(builder, step, _READY), constant(I64, 1), "release")
    builder.call(work, [step])
    with _spinning(builder) as stop:
        stop(builder.icmp_signed("==", _observe(builder, move(builder, step, _DONE)), parts))
    builder.ret_void()
    return builder.function


def define_help(module: ir.Module) -> None:
    """Define `help`, which takes shares of a call's steps until it is over; its argument is the board."""
    work = _define_work(module)
    builder, (board,) = define(module, "help", [POINTER])
    steps = load(builder, move(builder, board, _STEPS), I64)
    head, body, over = (builder.append_basic_block() for _ in range(3))
    start = builder.block
    builder.branch(head)
    builder.position_at_end(head)
    number = builder.phi(I64)
    number.add_incoming(constant(I64, 0), start)
    builder.cbranch(builder.icmp_signed("<", number, steps), body, over)
    builder.position_at_end(body)
    step = _step(builder, board, number)
    with _spinning(builder) as stop:
        stop(builder.icmp_signed("!=", _observe(builder, move(builder, step, _READY)), constant(I64, 0)))
        finished = _observe(builder, move(builder, board, _FINISHED))
        with builder.if_then(builder.icmp_signed("!=", finished, constant(I64, 0))):
            builder.ret_void()
    builder.call(work, [step])
    number.add_incoming(builder.add(number, constant(I64, 1)), builder.block)
    builder.branch(head)
    builder.position_at_end(over)
    builder.ret_void()


def _define_work(module: ir.Module) -> ir.Function:
    """Define, once, what takes shares of a step as long as there are any; its argument is the step."""
    if "work" in module.globals:
        return module.globals["work"]
    builder, (step,) = define(module, "work", [POINTER])
    function = load(builder, move(builder, step, _FUNCTION), ir.PointerType(_PART))
    items, parts = (load(builder, move(builder, step, place), I64) for place in (_ITEMS, _PARTS))
    one = constant(I64, 1)
    head, body, over = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    taken = builder.atomic_rmw("add", move(builder, step, _TAKEN), one, "monotonic")
    builder.cbranch(builder.icmp_signed("<", taken, parts), body, over)
    builder.position_at_end(body)
    first, last = (builder.sdiv(builder.mul(items, share), parts) for share in (taken, builder.add(taken, one)))
    builder.call(function, [move(builder, step, _ARGUMENTS), first, last])
    builder.atomic_rmw("add", move(builder, step, _DONE), one, "release")
    builder.branch(head)
    builder.position_at_end(over)
    builder.ret_void()
    return builder.function


def _step(builder: ir.IRBuilder, board: ir.Value, number: ir.Value) -> ir.Value:
    """Return the address of a step."""
    return at(builder, move(builder, board, _LINE), number, _STEP_BYTES)


def _observe(builder: ir.IRBuilder, place: ir.Value) -> ir.Value:
    """Read a number that another thread changes, and what it wrote before with it."""
    return builder.load_atomic(place, "acquire", _WORD, typ=I64)


@contextmanager
def _spinning(builder: ir.IRBuilder) -> Iterator[Callable[[ir.Value], None]]:
    """Repeat what is built inside, until the condition holds that is given to what is yielded."""
    again, after = (builder.append_basic_block() for _ in range(2))
    builder.branch(again)
    builder.position_at_end(again)

    def stop(condition: ir.Value) -> None:
        following = builder.append_basic_block()
        builder.cbranch(condition, after, following)
        builder.position_at_end(following)

    yield stop
    _pause(builder)
    builder.branch(again)
    builder.position_at_end(after)


def _pause(builder: ir.IRBuilder) -> None:
    """Tell the processor that this thread is waiting, so that one beside it on the same core has more of it."""
    family, _ = processor()
    if family == "x86_64":
        builder.call(declare(builder.module, "llvm.x86.sse2.pause", NOTHING, []), [])
    elif family == "aarch64":
        builder.call(declare(builder.module, "llvm.aarch64.hint", NOTHING, [I32]), [constant(I32, 1)])
