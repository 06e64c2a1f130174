from __future__ import annotations

import ast
from typing import Any

import pytest
from lsprotocol.types import PositionEncodingKind

from server.comments import find_target
from server.edits import function_body, insertion, unversioned, workspace_edit
from server.positions import LinedText, Position

UTF16 = PositionEncodingKind.Utf16


def applied(text: str, line: int, code: str, encoding: PositionEncodingKind = UTF16) -> str:
    """Return the document after the code for the comment at `line` was inserted, as an editor does it."""
    lined = LinedText.of(text)
    target = find_target(lined.lines, line)
    assert target is not None
    edit = insertion(lined, target, code, encoding)
    start, end = (
        lined.offset(Position(line=at.line, character=at.character), encoding)
        for at in (edit.range.start, edit.range.end)
    )
    return text[:start] + edit.new_text + text[end:]


def test_code_goes_below_its_comment() -> None:
    assert applied("# sort\nx = 1\n", 0, "y = sorted(z)") == "# sort\ny = sorted(z)\nx = 1\n"


def test_the_last_line_needs_no_line_end() -> None:
    assert applied("# sort", 0, "y = 1\n") == "# sort\ny = 1"


@pytest.mark.parametrize("indent", ["    ", "\t"])
def test_code_is_indented_as_its_comment(indent: str) -> None:
    text = f"def f():\n{indent}# sort\n"
    assert applied(text, 1, "if a:\n    b\n\nc") == (
        f"def f():\n{indent}# sort\n{indent}if a:\n{indent}    b\n\n{indent}c\n"
    )


def test_line_ends_are_those_of_the_document() -> None:
    assert applied("# sort\r\nx\r\n", 0, "a\nb") == "# sort\r\na\r\nb\r\nx\r\n"


@pytest.mark.parametrize("encoding", list(PositionEncodingKind))
def test_the_place_is_counted_as_the_editor_counts(encoding: PositionEncodingKind) -> None:
    assert applied("# sort \U0001f600 e\u0301\nx", 0, "y", encoding) == "# sort \U0001f600 e\u0301\ny\nx"


def test_an_empty_function_gets_its_body_and_keeps_signature_and_docstring() -> None:
    text = 'class A:\n    def f(self, x: int) -> int:\n        """Double."""\n        ...\n\n    y = 1\n'
    code = (
        'import math\n\ndef f(self, x):\n    """Other words."""\n    def g():\n        return 2\n    return g() * x\n'
    )
    result = applied(text, 1, code)
    assert result == (
        'class A:\n    def f(self, x: int) -> int:\n        """Double."""\n        import math\n'
        "        def g():\n            return 2\n        return g() * x\n\n    y = 1\n"
    )
    ast.parse(result)


FACTORIAL = "def factorial(n):\n    return 1 if n < 2 else n * factorial(n - 1)\n"


def test_below_a_comment_in_a_class_a_function_becomes_a_method() -> None:
    result = applied("class Numbers(\n    list,\n):\n    size = 1\n\n    # factorial of n\n", 5, FACTORIAL)
    scope: dict[str, Any] = {}
    exec(result, scope)
    assert scope["Numbers"]().factorial(5) == 120


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("class A:\n    x = 1\n\n# factorial of n\n", 3),
        ("class A:\n    def f(self):\n        # factorial of n\n", 2),
        ("def f():\n    # factorial of n\n", 1),
        ("if True:\n    # factorial of n\n", 1),
    ],
)
def test_elsewhere_a_function_stays_one(text: str, line: int) -> None:
    result = applied(text, line, FACTORIAL)
    assert "def factorial(n):" in result
    assert "n * factorial(n - 1)" in result


def test_a_method_that_was_taught_becomes_a_function_outside_of_a_class() -> None:
    method = FACTORIAL.replace("(n)", "(self, n)").replace("* factorial", "* self.factorial")
    assert applied("# factorial of n\n", 0, method) == f"# factorial of n\n{FACTORIAL}"


@pytest.mark.parametrize(
    ("header", "call"),
    [
        ("def factorial(self, n):", "self.factorial(n - 1)"),
        ("@classmethod\n    def factorial(cls, n):", "cls.factorial(n - 1)"),
    ],
)
def test_an_empty_method_calls_itself_on_its_object(header: str, call: str) -> None:
    text = f'class A:\n    {header}\n        """Factorial."""\n'
    result = applied(text, text.count("\n") - 1, FACTORIAL)
    assert result == f"{text}        return 1 if n < 2 else n * {call}\n"


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("return x", "return x"),
        ("def other(x):\n    return x", "def other(x):\n    return x"),
        ("def f(x):\n    return x", "return x"),
        ("@cache\ndef f(x):\n    return x", "return x"),
        ("def g():\n  pass\n\ndef f(x):\n  return g()", "def g():\n  pass\nreturn g()"),
        ("async def f(x):\n    return x", "return x"),
        ('def f(x):\n    """Nothing else."""', "pass"),
        ("def f(x): return x", "def f(x): return x"),
        ("def f(:", "def f(:"),
    ],
)
def test_a_body_holds_all_that_the_code_defines(code: str, body: str) -> None:
    assert function_body(code, "f") == body


def test_an_edit_names_the_version_it_is_for() -> None:
    lined = LinedText.of("# sort")
    target = find_target(lined.lines, 0)
    assert target is not None
    edit = workspace_edit("file:///a.py", 4, [insertion(lined, target, "y", UTF16)])
    assert edit.document_changes is not None
    (change,) = edit.document_changes
    assert change.text_document.version == 4  # type: ignore[union-attr]
    plain = unversioned(edit)
    assert plain.document_changes is None
    assert plain.changes is not None
    assert list(plain.changes) == ["file:///a.py"]
