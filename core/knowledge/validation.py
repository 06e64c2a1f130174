"""What may be stored: text of a sensible size, and code that parses."""

from __future__ import annotations

import ast
import doctest
import warnings

from core.errors import InvalidParams, RejectedTask
from core.knowledge.task import Task

DESCRIPTION_LIMIT = 8_000
"""Characters. A description is a few sentences; an embedding reads no more than a page."""
CODE_LIMIT = 200_000
"""Characters of an implementation or of tests."""


def check(task: Task) -> None:
    """Accept a task or say what is wrong with it.

    Raises:
        InvalidParams: A field is empty, too long or no text; names the field.
        RejectedTask: Python code does not parse; names the line.
    """
    _check_text("description", task.description, DESCRIPTION_LIMIT)
    _check_text("implementation", task.implementation, CODE_LIMIT)
    if task.tests is not None:
        _check_text("tests", task.tests, CODE_LIMIT)
    _check_text("language", task.language, 40)
    if not any(character.isalpha() for character in task.description):
        raise InvalidParams("description", "has no words; say in a sentence what the code does")
    if task.language == "python":
        _check_python("implementation", task.implementation)
        _check_python("tests", _statements(task.tests or ""))


def _check_text(field: str, text: str, limit: int) -> None:
    if not text.strip():
        raise InvalidParams(field, "is empty")
    if len(text) > limit:
        raise InvalidParams(field, f"has {len(text):,} characters; at most {limit:,} are allowed")
    for number, character in enumerate(text):
        if character < " " and character not in "\t\n\r\f":
            raise InvalidParams(field, f"holds the control character {character!r} at position {number}: not a text")
        if "\ud800" <= character <= "\udfff":
            raise InvalidParams(
                field, f"holds half a character ({character!r}) at position {number}: not valid Unicode"
            )


def _statements(tests: str) -> str:
    """Return the statements of tests, which may be written as an interactive session."""
    if ">>>" not in tests:
        return tests
    try:
        return "".join(example.source for example in doctest.DocTestParser().get_examples(tests))
    except ValueError as error:
        raise RejectedTask(
            f"The tests are no valid interactive session: {error}. Correct them and teach it again.", field="tests"
        ) from None


def _check_python(field: str, code: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in taught code is not our warning to show
            ast.parse(code)
    except SyntaxError as error:
        raise RejectedTask(
            f"The {field} is not valid Python: {error.msg} (line {error.lineno}). Correct it and teach it again.",
            field=field,
            line=error.lineno,
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise RejectedTask(f"The {field} cannot be parsed as Python: {error}.", field=field) from None
