"""From which similarity on a stored task counts as the one asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

_CALIBRATED_AT = 164
"""Tasks in the store the values below were chosen with: HumanEval."""
_KNOWN = 0.49
_PER_DOUBLING = 0.03
"""The best of many unrelated tasks is closer than the best of few: measured on stores of 20 to 465 tasks."""
_LOWEST, _HIGHEST = 0.45, 0.65
_WEAK_BAND = 0.07
_SAME_TASK = 0.68


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

    They were chosen on HumanEval tasks in other words (to be known) against MBPP tasks and
    everyday requests (not to be known). At 0.49 no rewording by the ReCode benchmark and a
    sixth of the freely worded queries was missed, and 1.7 % of MBPP was let through, half of
    it real duplicates. From 0.42 on, 97 % of the freely worded queries are at least shown as
    weak matches. At 0.68 no task of MBPP was taken for one of HumanEval, and 98 % of taught
    tasks were recognised in other words. A store that grows holds more that is merely
    similar, so `known` rises with every doubling.
    """
    known = _KNOWN + _PER_DOUBLING * math.log2(max(1, count) / _CALIBRATED_AT)
    known = round(min(_HIGHEST, max(_LOWEST, known)), 3)
    return Thresholds(known=known, weak=round(known - _WEAK_BAND, 3), same=_SAME_TASK)
