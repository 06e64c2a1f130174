"""Guessing tokens that are copied from the text so far, to verify several in one step.

A model that works on given code repeats much of it. Where the last tokens occurred before, what
followed them then is the guess (prompt lookup decoding, https://github.com/apoorvumang/prompt-lookup-decoding).
The model computes the guessed tokens together and keeps those that it would have chosen itself,
so the reply stays the same.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST = 3
_SHORTEST = 2
"""Tokens that must agree; with fewer, most guesses are wrong."""


class PromptLookup:
    """Knows where each short run of tokens occurred last."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        """Where the text goes on after a run of tokens, for runs that do not end it."""
        for token in tokens:
            self.push(token)

    def push(self, token: int) -> None:
        """Add a token to the text."""
        end = len(self._tokens)
        for length in range(_SHORTEST, min(_LONGEST, end) + 1):
            self._after[tuple(self._tokens[end - length :])] = end
        self._tokens.append(token)

    def draft(self, count: int) -> list[int]:
        """Return at most `count` tokens that followed the latest occurrence of the text's last ones."""
        for length in range(_LONGEST, _SHORTEST - 1, -1):
            start = self._after.get(tuple(self._tokens[-length:]))
            if start is not None:
                return self._tokens[start : start + count]
        return []
