from __future__ import annotations

import pytest

from core.knowledge.subject import subject_of


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("Write a python function to find the area of a circle.", "find the area of a circle."),
        ("Please write me a simple Python 3 method which returns the sum", "returns the sum"),
        ("Could you implement a helper in Python that should sort rows?", "sort rows?"),
        ("# write a function to add numbers", "add numbers"),
        ("Check in Python whether a list is sorted", "Check whether a list is sorted"),
        ("Give me code for reading a file", "reading a file"),
    ],
)
def test_the_words_that_ask_for_code_are_left_out(text: str, subject: str) -> None:
    assert subject_of(text) == subject


@pytest.mark.parametrize(
    "text",
    [
        "Create a list taking alternate elements",
        "build a binary search tree",
        "write an http client function with retries",
        "define a class for points",
        "find all python files",
        "write a function",
        "",
    ],
)
def test_words_that_describe_the_task_stay(text: str) -> None:
    assert subject_of(text) == text
