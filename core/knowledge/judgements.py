"""What people have made of answers: it moves the tasks these rested on, for queries that are near.

A judgement speaks for or against one task as the answer to one query. It says the more about
another query, the nearer that is in meaning; it moves a similarity by a bounded amount, and
taking it back undoes that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.knowledge.embedder import Vectors
from core.messages import Outcome

UNRELATED = 0.7
"""Cosine of two queries up to which a judgement on one says nothing about the other."""
_SHIFTS = {Outcome.ACCEPTED: 0.10, Outcome.EDITED: 0.05, Outcome.REJECTED: -0.25}
"""What a judgement adds to the similarity of its task for the very same query.

A rejection takes a match out of the band it was in; an approval lifts a weak match over the
threshold. Edited code was the right beginning.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a person has made of an answer to a query that rested on a task."""

    query: str
    task_id: str
    outcome: Outcome
    vector: Vectors
    """The query's embedding: shape (dimension,), unit length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What judgements add to the similarity of one task."""

    amount: float
    reason: str
    """For people."""


class Judgements:
    """All judgements, the latest last."""

    def __init__(self, judgements: Sequence[Judgement] = ()) -> None:
        self._judgements = tuple(judgements)
        self._vectors = np.stack([one.vector for one in judgements]) if judgements else None

    def shifts(self, vector: Vectors) -> dict[str, Shift]:
        """Return, per task, the shift for a query: by the nearest judgement, of equally near ones the latest."""
        if self._vectors is None:
            return {}
        nearness = np.clip((self._vectors @ vector - UNRELATED) / (1 - UNRELATED), 0.0, 1.0)
        # The nearest comes last, and so overwrites what others say of the same task.
        order = sorted(np.flatnonzero(nearness), key=lambda number: (nearness[number], number))
        return {
            one.task_id: _shift(one, float(nearness[number])) for number in order for one in (self._judgements[number],)
        }


def _shift(judgement: Judgement, nearness: float) -> Shift:
    amount = _SHIFTS[judgement.outcome] * nearness
    return Shift(amount=amount, reason=f"{judgement.outcome.value} by you for “{judgement.query}” ({amount:+.2f})")
