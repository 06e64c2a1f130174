"""Collecting a streamed reply, with its timings.

Standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.models.interface import TokenChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished reply."""

    text: str
    finish: str
    """`stop` or `length`."""
    first_token: float | None
    """Milliseconds from the start of the prefill."""
    tokens_per_second: float | None
    """Speed of decoding, the prefill left out."""


def collect(chunks: Iterable[TokenChunk], on_text: Callable[[str], None]) -> Reply:
    """Pass each piece of text on as it comes, and return the whole."""
    started = time.perf_counter()
    pieces: list[str] = []
    first: float | None = None
    last = started
    tokens = 0
    finish = "stop"
    for chunk in chunks:
        last = time.perf_counter()
        if first is None:
            first = last
        tokens += chunk.tokens
        finish = chunk.finish or finish
        if chunk.text:
            pieces.append(chunk.text)
            on_text(chunk.text)
    decoding = last - first if first is not None else 0.0
    return Reply(
        text="".join(pieces),
        finish=finish,
        first_token=None if first is None else (first - started) * 1000,
        tokens_per_second=(tokens - 1) / decoding if tokens > 1 and decoding > 0 else None,
    )
