from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.knowledge.similarity import Candidate, Pair, against_crowd, compare, prose

ratios = st.floats(0, 1, allow_nan=False)


def pair(query: str, description: str, cosine: float) -> Pair:
    (compared,) = compare(query, [Candidate(description=description, cosine=cosine)])
    return compared


@given(st.text(), st.text(), st.floats(-1, 1, allow_nan=False))
def test_similarity_stays_between_0_and_1_for_any_text(query: str, description: str, cosine: float) -> None:
    assert 0 <= pair(query, description, cosine).similarity <= 1


@given(st.lists(ratios))
def test_crowd_keeps_order_and_range(similarities: list[float]) -> None:
    ordered = sorted(similarities, reverse=True)
    measured = against_crowd(ordered)
    assert measured == sorted(measured, reverse=True)
    assert all(0 <= one <= 1 for one in measured)


def test_equal_descriptions_are_fully_similar_in_any_crowd() -> None:
    assert pair("sort the list", "sort the list", 1.0).similarity == pytest.approx(1)
    assert against_crowd([1.0, 0.9, 0.9, 0.9])[0] == pytest.approx(1)


def test_same_similarity_means_less_where_everything_is_alike() -> None:
    alone, crowded = against_crowd([0.8]), against_crowd([0.8] + [0.75] * 10)
    assert alone[0] > crowded[0]


@pytest.mark.parametrize(
    ("query", "description", "words"),
    [
        ("find the smallest element of a list", "find the largest element of a list", ("smallest", "largest")),
        ("sum of the odd numbers", "sum of the even numbers", ("odd", "even")),
        ("months with 28 days", "months with 31 days", ("28", "31")),
        ("remove the last 2 items", "remove the last three items", ("2", "three")),
    ],
)
def test_a_word_that_turns_the_task_around_lowers_the_similarity(
    query: str, description: str, words: tuple[str, str]
) -> None:
    compared = pair(query, description, 0.95)
    assert compared.contrasts == (words,)
    assert compared.similarity < pair(description, description, 0.95).similarity


def test_a_rewording_that_keeps_the_words_is_no_contrast() -> None:
    assert not pair("the maximum of all even numbers", "find the biggest even number", 0.9).contrasts


@given(st.text())
def test_a_text_is_fully_similar_to_itself(text: str) -> None:
    assert pair(text, text, 1.0).wording in (0.0, pytest.approx(1))  # 0: there are no words in it


def test_the_same_words_mean_the_same_whatever_asks_for_them() -> None:
    assert pair("Write a function to sort words", "Sort words", 0.7).meaning == 1
    assert pair("Write a function to sort words", "Sort verbs", 0.7).meaning == pytest.approx(0.7)


def test_inflection_and_typing_errors_leave_most_of_the_wording() -> None:
    assert pair("counts vowells in a string", "count the vowels in a string", 0.8).wording > 0.6
    assert pair("open a socket", "count the vowels in a string", 0.1).wording < 0.2


def test_examples_of_a_request_are_not_compared() -> None:
    assert prose("Return the sum of the digits. Example: f(12) == 3") == "Return the sum of the digits. "
    assert prose("x == y") == "x == y"


@pytest.mark.parametrize(
    "mark",
    [
        "Example 2:",
        "EXAMPLES:",
        "for example",
        "E.g.",
        ">>>",
        "[Input/Output]",
        "==",
        "=>",
        "->",
        "- >",
        "= =",
        "\u279e",
        "Assert x",
    ],
)
def test_every_mark_of_an_example_ends_the_prose(mark: str) -> None:
    assert prose(f"Return the sum of the digits {mark} f(12) 3") == "Return the sum of the digits "


def test_a_sibling_in_the_same_words_is_no_nearer_in_meaning_than_a_paraphrase() -> None:
    asked = "count how many items of a list are negative"
    sibling, paraphrase = (
        pair(asked, "count how many items of a list are floats", 0.7),
        pair(asked, "less than 0?", 0.7),
    )
    assert sibling.similarity > paraphrase.similarity
    assert sibling.alike_in_meaning == paraphrase.alike_in_meaning
