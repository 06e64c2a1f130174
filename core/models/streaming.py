"""From tokens to text as it is generated: characters as soon as they are complete, no stop strings.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_INCOMPLETE = "\ufffd"
_LONGEST_INCOMPLETE = 3
"""A character has at most four bytes, so at most three bytes wait for the rest of theirs."""


class Detokenizer:
    """Decodes one token at a time.

    The text of a token can depend on the tokens before it (a leading space, the bytes of one
    character), so each step decodes the tokens of the last complete text again, as context, and
    emits what is new. Nothing waits for a space or the end of a line.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], context: Sequence[int] = ()) -> None:
        """Start after the tokens `context`, the end of the prompt."""
        self._decode = decode
        self._context = list(context)
        self._pending: list[int] = []
        self._emitted = 0

    def push(self, token: int) -> str:
        """Return the text that this token completes; empty while a character is incomplete."""
        self._pending.append(token)
        text = self._pending_text()
        complete = len(text) - _count_incomplete(text)
        new = text[self._emitted : complete]
        self._emitted = max(self._emitted, complete)
        if complete == len(text):
            self._context, self._pending, self._emitted = self._pending, [], 0
        return new

    def flush(self) -> str:
        """Return what is left at the end: an incomplete character, as U+FFFD."""
        return self._pending_text()[self._emitted :]

    def _pending_text(self) -> str:
        known = self._decode(self._context)
        return self._decode([*self._context, *self._pending])[len(known) :]


def _count_incomplete(text: str) -> int:
    trailing = len(text) - len(text.rstrip(_INCOMPLETE))
    return min(trailing, _LONGEST_INCOMPLETE)


class StopStrings:
    """Cuts a stream of text before the first of several strings, and never emits part of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Return what is certain to be no part of a stop string; `found` is set once there is one."""
        self._held += text
        positions = [at for at in map(self._held.find, self._stops) if at >= 0]
        if positions:
            self.found = True
            return self._release(min(positions))
        return self._release(len(self._held) - self._longest_start())

    def flush(self) -> str:
        """Return what was held back, when the stream has ended otherwise."""
        return "" if self.found else self._release(len(self._held))

    def _release(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text

    def _longest_start(self) -> int:
        """Return the length of the longest end of the held text that starts a stop string."""
        longest = max(map(len, self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
