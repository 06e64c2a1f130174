"""Cooperative cancellation, shared by threads.

A cancelled operation may run on briefly: it stops at its next check.

Standard library only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from core.errors import Cancelled


class CancelToken:
    """A flag that one side sets and the other side checks between small steps."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Set the flag and run the callbacks, once, on the calling thread."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call `callback` when cancelled; at once if that has happened already."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` if the flag is set."""
        if self._event.is_set():
            raise Cancelled
