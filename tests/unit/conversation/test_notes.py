"""What counts as a statement: it is kept, so questions and requests must not be among them."""

import pytest

from core.conversation.notes import notes_of


@pytest.mark.parametrize(
    "statement",
    [
        "The database we use is PostgreSQL.",
        "By the way, our tests have to run on Python 3.11.",
        "I prefer short answers with an example.",
        "Der Server lauscht auf Port 8417.",
    ],
)
def test_a_statement_is_kept_word_for_word(statement: str) -> None:
    assert notes_of([f"{statement} What does this do?"]) == [statement]


@pytest.mark.parametrize(
    "message",
    [
        "What does this function return?",
        "Explain what this code does.",
        "Can you say that in one sentence?",
        "And what happens if the argument is empty?",
        "Write a function that adds two numbers.",
        "Thanks!",
        "",
    ],
)
def test_what_is_asked_for_is_no_statement(message: str) -> None:
    assert notes_of([message]) == []


def test_what_is_said_twice_is_kept_once_in_the_order_of_saying() -> None:
    first, second = "We never use global variables.", "All amounts are in cents."
    assert notes_of([f"{first} {second}", first]) == [first, second]
