"""How a text is worded, whatever it is about, as a vector.

The last layer of a sentence model tells what a text is about. How it says so, whether it asks, orders
or states, is told better by the layers in the middle, as with other models of this kind (Jawahar et
al. 2019, "What does BERT learn about the structure of language?"); and mostly by where it begins and ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_ENDS = 4
"""Tokens that count as the beginning, and as the end."""
_WEIGHTS = np.array([1.0, 0.7, 0.7], np.float32)
"""Of the whole, the beginning and the end."""


def middle_layer(layers: int) -> int:
    """Return after which of so many layers, counted from one, the hidden states tell how a text is worded."""
    return max(1, layers * 2 // 3)


def describe_wording(states: Floats) -> Floats:
    """Return how a text is worded: of unit length, shape (3 * width,).

    Args:
        states: Its tokens after the middle layer, with the marks that a model puts before the first and
            after the last: shape (tokens, width), at least one token.
    """
    words = states[1:-1] if len(states) > 2 else states  # noqa: PLR2004 - the two marks
    parts = np.stack([states.mean(axis=0), words[:_ENDS].mean(axis=0), words[-_ENDS:].mean(axis=0)])
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    weighted: Floats = parts * (_WEIGHTS / np.linalg.norm(_WEIGHTS))[:, None]
    return weighted.reshape(-1)
