from __future__ import annotations

import numpy as np
import pytest

from core.knowledge.embedder import Vectors
from core.knowledge.judgements import UNRELATED, Judgement, Judgements
from core.messages import Outcome


def at(cosine: float) -> Vectors:
    """Return a unit vector of this cosine to the first axis."""
    return np.array([cosine, np.sqrt(1 - cosine**2)], np.float32)


def judged(outcome: Outcome, cosine: float = 1.0, task_id: str = "t1") -> Judgement:
    return Judgement(query="sort it", task_id=task_id, outcome=outcome, vector=at(cosine))


def amount(cosine: float, *judgements: Judgement) -> float:
    shift = Judgements(judgements).shifts(at(cosine)).get("t1")
    return shift.amount if shift else 0.0


def test_acceptance_speaks_for_a_task_editing_less_so_and_rejection_against_it() -> None:
    accepted, edited, rejected = (amount(1.0, judged(outcome)) for outcome in Outcome)
    assert accepted > edited > 0 > rejected


def test_a_judgement_says_the_less_the_farther_a_query_is_and_nothing_of_others() -> None:
    here, near, far = (amount(cosine, judged(Outcome.REJECTED)) for cosine in (1.0, 0.9, UNRELATED - 0.01))
    assert here < near < far == 0


def test_the_nearest_judgement_holds_and_of_equally_near_ones_the_latest() -> None:
    assert amount(1.0, judged(Outcome.ACCEPTED), judged(Outcome.REJECTED, cosine=0.9)) > 0
    assert amount(1.0, judged(Outcome.REJECTED, cosine=0.9), judged(Outcome.ACCEPTED)) > 0
    assert amount(1.0, judged(Outcome.REJECTED), judged(Outcome.ACCEPTED)) > 0
    assert amount(1.0, judged(Outcome.ACCEPTED), judged(Outcome.REJECTED)) < 0


def test_many_judgements_of_a_task_move_it_no_farther_than_one() -> None:
    assert amount(1.0, *[judged(Outcome.ACCEPTED)] * 9) == pytest.approx(amount(1.0, judged(Outcome.ACCEPTED)))


def test_a_judgement_is_about_its_task_only() -> None:
    assert Judgements([judged(Outcome.REJECTED, task_id="other")]).shifts(at(1.0)).keys() == {"other"}
    assert Judgements().shifts(at(1.0)) == {}
