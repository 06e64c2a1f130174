"""The two consoles that text for people goes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TextIO

from rich.console import Console

_PIPED_WIDTH = 1000
"""Columns; lines of piped text are not to be wrapped."""


@dataclass(frozen=True, slots=True)
class Consoles:
    """One for answers, one for what is said about them."""

    out: Console
    notes: Console

    @classmethod
    def of(cls, out: TextIO, notes: TextIO) -> Self:
        """Write to two streams, each as fits what it is connected to."""
        return cls(_console(out), _console(notes))


def _console(stream: TextIO) -> Console:
    piped = not stream.isatty()
    # Nothing a model or a person writes may be read as markup.
    return Console(
        file=stream, markup=False, highlight=False, emoji=False, soft_wrap=piped, width=_PIPED_WIDTH if piped else None
    )
