from __future__ import annotations

import doctest
from types import ModuleType
from typing import Any

import pytest

from core.generation.adapt import adapt, entry_point
from core.generation.contradiction import contradict

FACTORIAL = '''import math


def check(value):
    return value >= 0


def factorial(value):
    """Return the factorial.

    >>> factorial(4)
    24
    """
    # factorial(0) is 1
    assert check(value)
    return value * factorial(value - 1) if value else 1
'''


def load(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_without_a_name_in_the_description_the_code_is_taken_as_it_is() -> None:
    adaptation = adapt("Write a function to compute the factorial", FACTORIAL)
    assert adaptation.code == FACTORIAL
    assert adaptation.changes == ()


def test_name_and_parameters_follow_the_description() -> None:
    adaptation = adapt("def fact(n): the factorial of n", FACTORIAL)
    assert load(adaptation.code)["fact"](n=5) == 120
    assert adaptation.changes == (
        "Named fact instead of factorial.",
        "Parameters named n instead of value.",
    )


def test_doctests_still_run_under_the_new_name() -> None:
    module = ModuleType("adapted")
    exec(adapt("a function called fact", FACTORIAL).code, vars(module))
    assert doctest.testmod(module) == doctest.TestResults(failed=0, attempted=1)


def test_helpers_and_imports_stay() -> None:
    code = adapt("a function called fact", FACTORIAL).code
    assert "import math" in code
    assert "def check(value):" in code


def test_a_name_that_is_taken_is_not_given_and_that_is_said() -> None:
    adaptation = adapt("a function called check", FACTORIAL)
    assert adaptation.code == FACTORIAL
    assert adaptation.changes == ("The name factorial was kept instead of check: the name check is already used.",)


@pytest.mark.parametrize(
    ("asked", "words"), [("def divide(b, a)", "their order is another"), ("def divide(a)", "1 were asked for")]
)
def test_parameters_that_do_not_correspond_are_kept_and_that_is_said(asked: str, words: str) -> None:
    adaptation = adapt(asked, "def divide(a, b):\n    return a / b\n")
    assert adaptation.code == "def divide(a, b):\n    return a / b\n"
    assert words in adaptation.changes[0]


@pytest.mark.parametrize("code", ["print(1)", "x = (", "", "\0"])
def test_code_without_a_definition_is_taken_as_it_is(code: str) -> None:
    assert adapt("a function called fact", code).code == code


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (FACTORIAL, "factorial"),
        ("def main():\n    return helper()\ndef helper():\n    return 1", "main"),
        ("class Pair:\n    pass\ndef chain(a):\n    return a", "chain"),
        ("class Node:\n    pass\nclass Tree:\n    root = Node()", "Tree"),
        ("def even(n):\n    return odd(n)\ndef odd(n):\n    return even(n)", "odd"),
    ],
)
def test_the_entry_point_is_what_nothing_else_uses(code: str, name: str) -> None:
    entry = entry_point(code)
    assert entry is not None
    assert entry.name == name


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("find the largest number of a list", "Find the smallest element in a list"),
        ("sort a list in descending order", "sort the list in ascending order"),
        ("check if a number is odd", "Check whether the given number is even"),
        ("numbers divisible by 7", "numbers divisible by 11"),
        ("the second word", "the third word"),
        ("sort a list without using loops", "sort a list"),
        ("numbers that are not prime", "numbers that are prime"),
    ],
)
def test_descriptions_that_ask_for_something_else_contradict(asked: str, known: str) -> None:
    assert contradict(asked, known)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("find the biggest number of a list", "Write a function to find the maximum of a list"),
        ("order factors from smallest to largest", "list the factors, the least first, the greatest last"),
        ("keep the unique elements", "remove duplicates from a list"),
        ("say whether or not a list is sorted", "check if a list is sorted"),
        ("join two strings", "Concatenate 2 strings"),
        ("the sum of squares", "add up the squares of numbers"),
    ],
)
def test_other_words_for_the_same_do_not_contradict(asked: str, known: str) -> None:
    assert not contradict(asked, known)


def test_the_signature_of_a_method_names_the_parameters_behind_the_object() -> None:
    fitted = adapt('def area(self, width):\n    """Area of a square."""', "def square(side):\n    return side * side")
    assert fitted.code == "def area(width):\n    return width * width"
