from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.generation.grounding import Band, after_examples, decide, refusal
from core.knowledge.task import Match, Task
from core.knowledge.thresholds import Thresholds
from core.messages import Origin

THRESHOLDS = Thresholds(known=0.6, weak=0.5, taught=0.4, same=0.7)


def match(similarity: float, origin: Origin = Origin.BUILTIN, lead: float = 0.2) -> Match:
    task = Task(id=f"task-{similarity}", description="Sort words.", implementation="sorted(words)", origin=origin)
    return Match(task=task, similarity=similarity, meaning=similarity, lead=lead)


@pytest.mark.parametrize(
    ("best", "band"),
    [(0.6, Band.GROUNDED), (0.59, Band.WEAK), (0.5, Band.WEAK), (0.49, Band.UNKNOWN), (0.0, Band.UNKNOWN)],
)
def test_the_best_match_decides_the_band(best: float, band: Band) -> None:
    assert decide([match(best), match(0.0)], THRESHOLDS).band is band


def test_an_empty_store_knows_nothing() -> None:
    found = decide([], THRESHOLDS)
    assert found.band is Band.UNKNOWN
    assert "Nothing is known yet" in refusal(found)


def test_only_matches_that_are_close_enough_reach_the_prompt() -> None:
    found = decide([match(0.8), match(0.55), match(0.3)], THRESHOLDS)
    assert [one.similarity for one in found.used] == [0.8, 0.55]
    assert len(found.closest) == 3


@pytest.mark.parametrize(
    ("best", "band", "own"),
    [
        (match(0.65, Origin.TAUGHT), Band.GROUNDED, True),
        (match(0.45, Origin.TAUGHT), Band.WEAK, True),
        (match(0.39, Origin.TAUGHT), Band.UNKNOWN, False),
        (match(0.45, Origin.TAUGHT, lead=0.01), Band.UNKNOWN, False),
        (match(0.45, Origin.BUILTIN), Band.UNKNOWN, False),
    ],
)
def test_what_a_person_has_taught_needs_less_similarity_if_nothing_else_is_near(
    best: Match, band: Band, own: bool
) -> None:
    found = decide([best, match(0.1)], THRESHOLDS)
    assert (found.band, found.own) == (band, own)
    assert found.used == (() if band is Band.UNKNOWN else (best,))


def test_an_own_task_is_judged_by_its_meaning_where_only_the_wording_differs() -> None:
    paraphrased, sibling = match(0.35, Origin.TAUGHT), match(0.45, Origin.TAUGHT)
    assert decide([replace(paraphrased, meaning=0.45)], THRESHOLDS).own
    assert not decide([replace(sibling, meaning=0.35)], THRESHOLDS).own


def test_a_threshold_of_the_persons_own_moves_the_weak_band_with_it() -> None:
    assert decide([match(0.75)], THRESHOLDS, chosen=0.8).band is Band.WEAK
    assert decide([match(0.69)], THRESHOLDS, chosen=0.8).band is Band.UNKNOWN
    assert decide([match(0.2)], THRESHOLDS, chosen=0.2).band is Band.GROUNDED


def test_a_refusal_gives_the_closest_match_both_numbers_and_the_way_out() -> None:
    words = refusal(decide([match(0.3)], THRESHOLDS))
    for part in ("task-0.3", "0.30", "0.60", "Teach", "generate anyway"):
        assert part in words


@given(st.lists(st.floats(0, 1)), st.floats(0.01, 1))
def test_nothing_of_an_unknown_task_is_used_and_something_of_a_known_one_is(values: list[float], chosen: float) -> None:
    found = decide([match(value) for value in sorted(values, reverse=True)], THRESHOLDS, chosen)
    assert bool(found.used) == (found.band is not Band.UNKNOWN)
    assert found.same >= found.threshold


def test_what_does_not_meet_an_example_is_used_no_more_and_stands_behind_the_others() -> None:
    found = decide([match(0.65), match(0.55), match(0.3)], THRESHOLDS)
    left = after_examples(found, {"task-0.65": "f(1) == 2"}, [])
    assert [one.similarity for one in left.used] == [0.55]
    assert [one.similarity for one in left.closest] == [0.55, 0.3, 0.65]
    assert left.band is Band.WEAK
    assert "f(1) == 2" in left.closest[-1].reason


def test_a_refusal_says_which_example_the_closest_task_does_not_meet() -> None:
    found = decide([match(0.65, Origin.TAUGHT)], THRESHOLDS)
    left = after_examples(found, {"task-0.65": "f(1) == 2"}, [])
    assert (left.band, left.used, left.own) == (Band.UNKNOWN, (), False)
    for part in ("task-0.65", "0.65", "f(1) == 2", "generate anyway"):
        assert part in refusal(left)


def test_examples_confirm_only_the_best_of_what_is_used() -> None:
    found = decide([match(0.65), match(0.55)], THRESHOLDS)
    assert after_examples(found, {}, ["task-0.65"]).confirmed
    assert not after_examples(found, {}, ["task-0.55"]).confirmed
    assert after_examples(found, {"task-0.65": "f(1) == 2"}, ["task-0.55"]).confirmed
