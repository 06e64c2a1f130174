"""How far an evaluation has got, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One report of an evaluation that is running."""

    done: int
    total: int
    remaining: float | None
    """Seconds, estimated from the cases done so far in this run; None while there is nothing to go by."""
    message: str


OnProgress = Callable[[Progress], None]


class Tracker:
    """Counts the steps of an evaluation."""

    def __init__(self, total: int, on_progress: OnProgress, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin; `clock` gives seconds."""
        self._total = total
        self._on_progress = on_progress
        self._clock = clock
        self._done = 0
        self._measured = 0
        self._first: float | None = None

    def step(self, message: str, *, measured: bool = True) -> None:
        """Report one step more.

        Args:
            message: What it was.
            measured: Whether it took its time in this run; a result of an earlier run tells
                nothing about how long the rest will take.
        """
        self._done += 1
        remaining = None
        if self._first is None and measured:
            # The first step also waits for the engine and its models, so the clock starts behind it.
            self._first = self._clock()
        elif self._first is not None:
            self._measured += measured
            remaining = self._estimate(self._clock() - self._first)
        self._on_progress(Progress(done=self._done, total=self._total, remaining=remaining, message=message))

    def _estimate(self, elapsed: float) -> float | None:
        return elapsed / self._measured * (self._total - self._done) if self._measured else None
