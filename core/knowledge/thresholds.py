"""From which similarity on a stored task counts as the one asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

_CALIBRATED_AT = 164
"""Tasks in the store the values below were chosen with: HumanEval."""
_KNOWN = 0.51
_PER_DOUBLING = 0.03
"""The best of many unrelated tasks is closer than the best of few: measured on stores of 20 to 465 tasks."""
_LOWEST, _HIGHEST = 0.45, 0.65
_WEAK_BAND = 0.06
_TAUGHT_BAND = 0.13
_SAME_TASK = 0.72


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where similarity starts to mean something, for one embedder and one size of the store."""

    known: float
    """From here on a stored task is taken for the one asked for."""
    weak: float
    """From here on it is near enough to help, with a warning."""
    taught: float
    """From here on the person's own task is near enough, if it is clearly ahead of all others."""
    same: float
    """From here on it is practically the task asked for, so that its implementation should be kept."""


def for_store(count: int) -> Thresholds:
    """Return the thresholds for a store of `count` tasks.

    They were chosen on HumanEval tasks in other words (to be known) against MBPP tasks and
    everyday requests (not to be known). At 0.51 no rewording by the ReCode benchmark was missed
    and 3.7 % of MBPP was let through, a third of it real duplicates; of the freely worded
    queries, 47 % are known there and 63 % are at least weak matches. At 0.72 the one task of MBPP
    that was taken for one of HumanEval is that task. A store that grows holds more that is
    merely similar, so `known` rises with every doubling.

    Where a person's own task leads, its meaning alone is held against `taught`: of 272
    paraphrases of taught tasks, 72 % reach it clearly ahead of all others (67 % if the wording
    counts as well), and so do 22 % of 301 requests for their siblings and other tasks of MBPP.
    That is why such a match is a weak one.
    """
    known = _KNOWN + _PER_DOUBLING * math.log2(max(1, count) / _CALIBRATED_AT)
    known = round(min(_HIGHEST, max(_LOWEST, known)), 3)
    return Thresholds(
        known=known, weak=round(known - _WEAK_BAND, 3), taught=round(known - _TAUGHT_BAND, 3), same=_SAME_TASK
    )
