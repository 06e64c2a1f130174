"""Guesses are what followed the same tokens before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.models.prompt_lookup import PromptLookup

texts = st.lists(st.integers(0, 4), max_size=60)


def test_guesses_what_followed_before() -> None:
    assert PromptLookup([1, 2, 3, 4, 5, 6, 1, 2, 3]).draft(2) == [4, 5]


def test_latest_occurrence_counts() -> None:
    assert PromptLookup([1, 2, 3, 7, 1, 2, 3, 8, 1, 2, 3]).draft(1) == [8]


def test_longer_agreement_counts_more() -> None:
    assert PromptLookup([9, 1, 2, 7, 5, 1, 2, 8, 9, 1, 2]).draft(1) == [7]


def test_guesses_nothing_after_something_new() -> None:
    assert PromptLookup([1, 2, 3, 4]).draft(5) == []
    assert PromptLookup([]).draft(5) == []


def test_repetition_is_guessed() -> None:
    assert PromptLookup([1, 2, 1, 2, 1, 2]).draft(5) == [1, 2]


@given(texts, st.integers(1, 8))
def test_every_guess_occurred_after_the_same_tokens(text: list[int], count: int) -> None:
    draft = PromptLookup(text).draft(count)
    assert len(draft) <= count
    if draft:
        seen = [*text[-2:], *draft]
        assert any(text[at : at + len(seen)] == seen for at in range(len(text)))


@given(texts)
def test_pushing_is_the_same_as_starting_with_the_text(text: list[int]) -> None:
    pushed = PromptLookup([])
    for token in text:
        pushed.push(token)
    assert pushed.draft(8) == PromptLookup(text).draft(8)
