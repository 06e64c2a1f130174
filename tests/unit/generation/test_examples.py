from __future__ import annotations

import pytest

from core.cancellation import CancelToken
from core.errors import Cancelled
from core.generation.examples import are_telling, read_examples, try_on

DOUBLE = "def twice(number):\n    return 2 * number\n"
FUNCTION = '''def helper(x):
    return x


def double(number: int) -> int:
    """Return twice the number.
    >>> double(2)
    4
    >>> helper(3)
    3
    >>> double(-1)
    -2
    """
'''


@pytest.mark.parametrize(
    ("line", "call", "result"),
    [
        ("double(2) == 4", "double(2)", "4"),
        ("# for example double(2) => 4.", "double(2)", "4"),
        ("    double([1, 2]) ==> [2, 4]  # each of them", "double([1, 2])", "[2, 4]"),
        ("* double('ab') \u279e 'abab'", "double('ab')", "'abab'"),
        ("assert double(2.5) == 5.0", "double(2.5)", "5.0"),
        ("double(number=2) should return 4, double(3) is left out", "double(number=2)", None),
        ("so that double(2) returns 4", "double(2)", "4"),
        ("it is what double(-1) = -2", "double(-1)", "-2"),
    ],
)
def test_a_line_with_a_call_and_its_result_is_an_example(line: str, call: str, result: str | None) -> None:
    assert [(one.call, one.result) for one in read_examples(line)] == ([(call, result)] if result else [])


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("For number = 2 the output should be 4", "double(2)"),
        ("    for number = [1, 2], the result is 4.", "double([1, 2])"),
        ("If number = 'ab' it returns 4", "double('ab')"),
        ("For other = 2 the output should be 4", None),
        ("For number = x the output should be 4", None),
        ("For number = 2, other = 3 the output should be 4", None),
        ("For number = 2 the output should be large", None),
    ],
)
def test_a_value_for_each_parameter_and_the_result_are_an_example(line: str, call: str | None) -> None:
    request = f'def double(number):\n    """Twice.\n\n    {line}\n    """'
    assert [(one.call, one.result) for one in read_examples(request)] == ([(call, "4")] if call else [])


def test_values_by_name_are_given_in_the_order_of_the_parameters() -> None:
    request = 'def minus(a, b):\n    """For b = 1, a = 3 the result is 2."""'
    assert [one.call for one in read_examples(request)] == ["minus(3, 1)"]


def test_of_a_function_to_complete_the_examples_are_its_own() -> None:
    assert [str(one) for one in read_examples(FUNCTION)] == ["double(2) == 4", "double(-1) == -2"]


@pytest.mark.parametrize(
    "request_",
    [
        "sort a list",
        "double(x) == 4",
        "double(2) == x + 1",
        "double(2) returns the number twice",
        "f(1) == 2\ng(1) == 3",
        "double(open('/etc/passwd').read()) == 4",
        ">>> double(2)",
        "if double(2) == 4 and so on",
    ],
)
def test_what_holds_more_than_literals_is_none(request_: str) -> None:
    assert read_examples(request_) == ()


def test_an_implementation_under_another_name_is_tried_on_all_examples() -> None:
    examples = read_examples(FUNCTION)
    assert try_on(FUNCTION, DOUBLE, examples, CancelToken()).met
    wrong = try_on(FUNCTION, "def square(x):\n    return x * x\n", examples, CancelToken())
    assert (wrong.met, wrong.failed) == (False, "double(-1) == -2")


def test_a_call_without_a_signature_in_the_request_names_the_function() -> None:
    request = "twice the number, so double(4) == 8"
    assert try_on(request, DOUBLE, read_examples(request), CancelToken()).met


@pytest.mark.parametrize(
    ("implementation", "met"),
    [
        ("def pair(a):\n    return [a, a / 3]\n", True),
        ("def pair(a):\n    return (a, 0.34)\n", False),
        ("def pair(a):\n    return None\n", False),
        ("def pair(a, b):\n    return (a, b)\n", False),
        ("def pair(a):\n    while True:\n        pass\n", False),
    ],
)
def test_lists_and_tuples_and_numbers_nearly_the_same_are_no_difference(implementation: str, met: bool) -> None:
    request = "pair(1) == (1, 0.33333333)"
    trial = try_on(request, implementation, read_examples(request), CancelToken())
    assert (trial.met, trial.failed is None) == (met, met)


def test_what_is_no_code_to_call_is_neither_right_nor_wrong() -> None:
    trial = try_on("f(1) == 2", "x = 1", read_examples("f(1) == 2"), CancelToken())
    assert (trial.met, trial.failed) == (False, None)


def test_a_cancelled_request_tries_nothing() -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        try_on("f(1) == 2", DOUBLE, read_examples("f(1) == 2"), token)


def test_examples_that_all_give_the_same_are_met_by_chance() -> None:
    assert not are_telling(read_examples("f(1) == True\nf(2) == True"))
    assert are_telling(read_examples("f(1) == True\nf(2) == False"))
