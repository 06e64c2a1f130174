"""Passing an answer's text on to the editor while it is being written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTERVAL = 0.06
"""Seconds between two notifications: smooth to read, and few enough never to crowd the editor."""

TOKENS = "assistant/tokens"


class TokenStream:
    """Gathers pieces of text and sends them on, in order, a few times per blink of an eye."""

    def __init__(self, send: Callable[[str], None], interval: float = INTERVAL) -> None:
        self._send = send
        self._interval = interval
        self._pieces: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, text: str) -> None:
        """Take the next piece."""
        self._pieces.append(text)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self.flush)

    def flush(self) -> None:
        """Send what has gathered; called before the response, so that the stream is complete by then."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        text, self._pieces = "".join(self._pieces), []
        if text:
            self._send(text)
