from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ContextTooLong
from core.generation.extract import extract_code
from core.generation.prompts import Solution, plan_generation
from core.models.interface import ChatMessage


def count(messages: Sequence[ChatMessage]) -> int:
    return sum(4 + len(one.content.split()) for one in messages)


def make_solution(similarity: float, words: int = 5) -> Solution:
    return Solution(description=f"task {similarity}", implementation="x = 1 " * words, similarity=similarity)


def test_solved_tasks_stand_before_the_prompt_the_most_similar_next_to_it() -> None:
    solutions = [make_solution(0.9), make_solution(0.5), make_solution(0.7)]
    plan = plan_generation("sort a list", solutions, "python", count=count, limit=1000)
    assert [one.similarity for one in plan.solutions] == [0.5, 0.7, 0.9]
    assert [one.role for one in plan.messages] == ["system", *["user", "assistant"] * 3, "user"]
    assert plan.messages[-3].content == "task 0.9"
    assert plan.messages[-1].content == "sort a list"


def test_the_least_similar_solution_gives_way_first() -> None:
    solutions = [make_solution(0.5), make_solution(0.9, words=20)]
    plan = plan_generation("sort a list", solutions, "python", count=count, limit=110)
    assert [one.similarity for one in plan.solutions] == [0.9]


def test_a_prompt_that_does_not_fit_says_both_lengths() -> None:
    with pytest.raises(ContextTooLong, match="only 50 fit"):
        plan_generation("word " * 100, [make_solution(0.5)], "python", count=count, limit=50)


@given(
    prompt=st.text(max_size=50),
    similarities=st.lists(st.floats(0, 1), max_size=6),
    limit=st.integers(40, 300),
)
def test_the_prompt_fits_and_is_never_cut(prompt: str, similarities: list[float], limit: int) -> None:
    solutions = [make_solution(one, words=index * 5) for index, one in enumerate(similarities)]
    try:
        plan = plan_generation(prompt, solutions, "python", count=count, limit=limit)
    except ContextTooLong:
        assert len(prompt.split()) > 10
        return
    assert count(plan.messages) <= limit
    assert plan.messages[-1].content == prompt
    dropped = sorted(similarities)[: len(similarities) - len(plan.solutions)]
    assert [one.similarity for one in plan.solutions] == sorted(similarities)[len(dropped) :]


def test_a_reply_that_goes_on_after_the_prefix_gives_its_code() -> None:
    plan = plan_generation("sort a list", [], "python", count=count, limit=100)
    reply = "def f(x):\n    return sorted(x)\n```\nThis sorts."
    assert extract_code(plan.reply_prefix + reply) == "def f(x):\n    return sorted(x)"
    assert extract_code(plan.reply_prefix + reply.partition(plan.stop[0])[0]) == "def f(x):\n    return sorted(x)"
