from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages import Intent
from core.routing.form import read_form


@pytest.mark.parametrize(
    ("query", "opener", "intent"),
    [
        ("Why is this slow?", "why", Intent.EXPLAIN),
        ("Could you please explain line 3", "explain", Intent.EXPLAIN),
        ("can you write a class", "write", Intent.GENERATE),
        ("I don\u2019t understand this", "i don't understand", Intent.EXPLAIN),
        ("give me a summary of this", "summary", Intent.EXPLAIN),
        ("Give me a function that sorts", "function", Intent.GENERATE),
        ("Would you mind writing a class", "writing", Intent.GENERATE),
        ("Can I get a snippet that sorts?", "snippet", Intent.GENERATE),
        ("Compare threads and processes", "compare", Intent.EXPLAIN),
        ("Compare two lists", "compare two", Intent.GENERATE),
        ("can u write a class", "write", Intent.GENERATE),
        ("describe_table(conn): names and types", None, None),
        ("explain(self) returns a text", None, None),
        ("sort the list", None, None),
        ("please", None, None),
        ("", None, None),
    ],
)
def test_first_words_tell_the_intent(query: str, opener: str | None, intent: Intent | None) -> None:
    form = read_form(query)
    assert (form.opener, form.intent) == (opener, intent)


@pytest.mark.parametrize(
    ("query", "order"), [("describe it", True), ("please write it", True), ("what is it", False), ("it is it", False)]
)
def test_an_order_is_told_from_a_question(query: str, order: bool) -> None:
    assert read_form(query).order is order


def test_marks_are_seen() -> None:
    assert read_form("  # is it prime?").comment
    assert read_form("TODO: strip the lines").comment
    assert read_form("is it prime? ").question
    assert not read_form("the number # of words").comment


@pytest.mark.parametrize(
    ("query", "action"),
    [
        ("please cache results on disk", True),
        ("Please rewrite it for me", True),
        ("explain how to cache results", False),
        ("results of the cache", False),
    ],
)
def test_a_command_is_told_by_its_verb(query: str, action: bool) -> None:
    assert read_form(query).action is action


@pytest.mark.parametrize(("query", "words"), [("", 0), ("don\u2019t  sort_me, please!", 4), ("a b " * 5000, 500)])
def test_words_are_counted(query: str, words: int) -> None:
    assert read_form(query).words == words


@pytest.mark.parametrize(
    ("query", "personal"),
    [("Yesterday I added a lock", True), ("I\u2019ve a list", True), ("for each i <= n, a[i] is i * i", False)],
)
def test_who_speaks_of_themselves_is_heard(query: str, personal: bool) -> None:
    assert read_form(query).personal is personal


@given(st.text())
def test_any_text_has_a_form(text: str) -> None:
    assert read_form(text).words >= 0
