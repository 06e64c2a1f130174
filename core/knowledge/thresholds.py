"""From which similarity on a stored task counts as the one asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

_CALIBRATED_AT = 164
"""Tasks in the store the values below were chosen with: HumanEval."""
_KNOWN = 0.55
_PER_DOUBLING = 0.03
"""The best of many unrelated tasks is closer than the best of few: measured on stores of 20 to 465 tasks."""
_LOWEST, _HIGHEST = 0.50, 0.70
_WEAK_BAND = 0.10
_SAME_TASK = 0.72


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where similarity starts to mean something, for one embedder and one size of the store."""

    known: float
    """From here on a stored task is taken for the one asked for."""
    weak: float
    """From here on it is near enough to help, with a warning."""
    same: float
    """From here on it is practically the task asked for, so that its implementation should be kept."""


def for_store(count: int) -> Thresholds:
    """Return the thresholds for a store of `count` tasks.

    They were chosen on HumanEval tasks in other words (to be known) against MBPP tasks (not
    to be known): at 0.55 none of the former was refused and 1 % of the latter was let
    through, nearly all of it real duplicates. A store that grows holds more that is merely
    similar, so `known` rises with every doubling.
    """
    known = _KNOWN + _PER_DOUBLING * math.log2(max(1, count) / _CALIBRATED_AT)
    known = round(min(_HIGHEST, max(_LOWEST, known)), 3)
    return Thresholds(known=known, weak=round(known - _WEAK_BAND, 3), same=_SAME_TASK)
