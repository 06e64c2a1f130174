from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.comments import comment_text, find_target, given_target


def lines(text: str) -> list[str]:
    return text.split("\n")


@pytest.mark.parametrize("line", [1, 2])
def test_a_block_of_comment_lines_is_one_prompt(line: int) -> None:
    target = find_target(lines("x = 1\n# sort the list\n# by length\ny = 2"), line)
    assert target is not None
    assert (target.prompt, target.last_line, target.end_line, target.indent) == ("sort the list\nby length", 2, 2, "")


def test_an_empty_line_right_below_means_the_comment() -> None:
    text = lines("# sort the list\n\n\n")
    assert find_target(text, 1) is not None
    assert find_target(text, 2) is None


@pytest.mark.parametrize("indent", ["    ", "\t", "\t\t", "  \t"])
def test_the_indentation_is_that_of_the_comment(indent: str) -> None:
    target = find_target(lines(f"def f():\n{indent}# sort the list"), 1)
    assert target is not None
    assert target.indent == indent


def test_lines_of_another_indentation_are_another_comment() -> None:
    target = find_target(lines("# outer\n    # inner\n# outer too"), 1)
    assert target is not None
    assert target.prompt == "inner"


@pytest.mark.parametrize(
    "line",
    [
        "#!/usr/bin/python",
        "# -*- coding: utf-8 -*-",
        "# type: ignore",
        "# noqa: E501",
        "# pylint: disable=x",
        "#",
        "##",
    ],
)
def test_lines_that_speak_to_tools_are_no_prompt(line: str) -> None:
    assert find_target([line], 0) is None


@pytest.mark.parametrize("line", ["x = 1  # one", "", "   ", "x = 1", 'print("# no")'])
def test_other_lines_are_no_comment(line: str) -> None:
    assert find_target([line], 0) is None


@pytest.mark.parametrize("line", [-1, 1, 99])
def test_a_line_that_does_not_exist_has_no_comment(line: int) -> None:
    assert find_target(["# sort"], line) is None


@pytest.mark.parametrize(
    ("comment", "prompt"),
    [
        ("# TODO: sort the list", "sort the list"),
        ("# TODO(anna): sort the list", "sort the list"),
        ("# FIXME sort the list", "sort the list"),
        ("# sort the list TODO", "sort the list"),
        ("# sort the list. (TODO)", "sort the list. (TODO)"),
        ("# sort the list - TODO!", "sort the list"),
        ("#: sort the list", "sort the list"),
        ("### sort the list", "sort the list"),
        ("# keep the TODO list sorted", "keep the TODO list sorted"),
        ("# TODO", ""),
    ],
)
def test_markers_around_the_text_are_no_part_of_it(comment: str, prompt: str) -> None:
    assert comment_text([comment]) == prompt


STUB = '''class A:
    def reverse(
        self,
        text: str,
    ) -> str:
        """Reverse a text.

        Keeps case.
        """
        ...

    x = 1'''


@pytest.mark.parametrize("line", [1, 2, 5, 8, 9, 10])
def test_a_function_that_has_only_a_docstring_is_a_prompt(line: int) -> None:
    target = find_target(lines(STUB), line)
    assert target is not None
    assert target.prompt.startswith("def reverse(\n    self,")
    assert target.prompt.endswith('Keeps case.\n    """')
    assert (target.function, target.indent) == ("reverse", "        ")
    assert (target.last_line, target.end_line) == (8, 9)


@pytest.mark.parametrize("line", [0, 11])
def test_lines_around_such_a_function_do_not_mean_it(line: int) -> None:
    assert find_target(lines(STUB), line) is None


@pytest.mark.parametrize(
    "text",
    [
        'def f():\n    """Do it."""\n    return 1',
        "def f():\n    ...",
        'def f(): """Do it."""',
        'def f(:\n    """Do it."""',
        "def f():",
        "default = 1",
    ],
)
def test_other_functions_are_no_prompt(text: str) -> None:
    assert find_target(lines(text), 0) is None


def test_a_stub_is_found_in_a_document_that_does_not_parse() -> None:
    target = find_target(lines('x = (\n\nasync def f():\n\t"""Wait."""\n\ny = )'), 2)
    assert target is not None
    assert (target.function, target.indent, target.last_line) == ("f", "\t", 3)


def test_a_comment_inside_an_unfinished_function_wins() -> None:
    target = find_target(lines('def f():\n    """Do it."""\n    # sort the list'), 2)
    assert target is not None
    assert target.prompt == "sort the list"


def test_a_typed_prompt_goes_below_the_comment_at_the_cursor_or_the_line() -> None:
    text = lines("  # one\n  # two\n    x = 1")
    assert (given_target(text, 0, "p").last_line, given_target(text, 0, "p").prompt) == (1, "p")
    assert (given_target(text, 2, "p").last_line, given_target(text, 2, "p").indent) == (2, "    ")


@given(st.lists(st.text("#d efx():\"'\t\\\n.", max_size=12), max_size=8), st.integers(-1, 9))
def test_nothing_that_can_be_typed_breaks_it(text: list[str], line: int) -> None:
    target = find_target(text, line)
    if target is not None:
        assert target.prompt.strip()
        assert 0 <= target.last_line <= target.end_line < len(text)
        assert not target.indent.strip()
