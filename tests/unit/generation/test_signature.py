from __future__ import annotations

import pytest

from core.generation.signature import asked_signature


@pytest.mark.parametrize(
    ("description", "name", "parameters"),
    [
        ("def foo(a, b):", "foo", ("a", "b")),
        ("Complete this:\ndef foo(a: list[int], *, b: str = ')') -> int:\n    pass", "foo", ("a",)),
        ("async def fetch(url)", "fetch", ("url",)),
        ("Write a function called add_up that adds numbers", "add_up", None),
        ("Write a function named add which adds numbers", "add", None),
        ("a function, called total, of a list", "total", None),
        ("a helper that is called frob", "frob", None),
        ('sort a list; call it "order"', "order", None),
        ("Write a function `total(values: list[int], start=0)` that adds", "total", ("values", "start")),
        ("Implement `merge` for two sorted lists", "merge", None),
        ("the function `merge`", "merge", None),
        ("Write solve(x, y) that returns the sum", "solve", ("x", "y")),
        ("class Stack with push and pop", "Stack", None),
        ("no parameters: def now()", "now", ()),
        ("def helper(a):\n    return a\n\n\ndef wanted(b):\n    pass\n", "wanted", ("b",)),
    ],
)
def test_the_name_and_the_parameters_are_understood(
    description: str, name: str, parameters: tuple[str, ...] | None
) -> None:
    signature = asked_signature(description)
    assert signature is not None
    assert (signature.name, signature.parameters) == (name, parameters)


@pytest.mark.parametrize(
    "description",
    [
        "",
        "Write a function to sort a list.",
        "a number called the base",
        "a function called with two numbers",
        "a function named after its author",
        "sort the list with `sorted(items)`",
        "given `text`, count its words",
        "the function is called when the file changes",
        "the class of a student",
        "def for x in y",
    ],
)
def test_a_description_that_gives_no_name_leaves_it_open(description: str) -> None:
    assert asked_signature(description) is None
