"""Finding what a person wants generated: the comment, or the empty function, at a place.

Pure functions over the lines of a document; nothing here needs the rest of it to parse.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

_HEADER = re.compile(r"\s*(?:async\s+)?def\s+(\w+)")
_CLASS = re.compile(r"\s*class\s+\w+\s*[\[(:]")
_PRAGMA = re.compile(
    r"#(?:!|\s*(?:-\*-|type:|noqa\b|pylint:|pragma:|fmt:|isort:|ruff:|mypy:|pyright:|region\b|endregion\b))"
)
_MARKER = r"(?:TODO|FIXME|XXX)\b(?:\([^)]*\))?"
_LEADING_MARKER = re.compile(rf"^\s*{_MARKER}\s*[:.-]?\s*")
_TRAILING_MARKER = re.compile(rf"[\s:;,-]*\b{_MARKER}[\s:.!-]*$")
_CLOSING = ")]}"
"""What a line of several that are one statement may begin with, wherever it stands."""

_LONGEST_STUB = 200
"""Lines; how far above a place its function header is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to generate and where it goes; lines count from 0."""

    prompt: str
    last_line: int
    """The code goes behind the end of this line."""
    end_line: int
    """Lines after `last_line` up to this one are replaced (the `...` of an empty function)."""
    indent: str
    """Whitespace in front of every line of the code."""
    function: str | None = None
    """Name of the empty function whose body is wanted; `None` for a comment."""
    receiver: str | None = None
    """What a method calls the object it is called on; `None` outside of a class."""


def find_target(lines: Sequence[str], line: int) -> Target | None:
    """Return what is to be generated at `line`, or `None` if nothing says so.

    1. In a block of `#` lines: that block.
    2. In a function whose body is only a docstring: its signature and docstring.
    3. On an empty line right below either of them: the same.

    Args:
        lines: The document's lines, without their ends.
        line: Where the person is, from 0.
    """
    if not 0 <= line < len(lines):
        return None
    found = _find_comment(lines, line) or _find_stub(lines, line)
    if found is None and line > 0 and not lines[line].strip():
        above = line - 1
        return _find_comment(lines, above) or _find_stub(lines, above)
    return found


def given_target(lines: Sequence[str], line: int, prompt: str) -> Target:
    """Return the target for a prompt that was typed: below the comment at `line`, else below `line`."""
    found = _find_comment(lines, line)
    if found is None:
        indent = _indent(lines[line])
        return Target(prompt=prompt, last_line=line, end_line=line, indent=indent, receiver=_receiver(lines, line))
    return replace(found, prompt=prompt)


def _find_comment(lines: Sequence[str], line: int) -> Target | None:
    if not _is_comment(lines[line]):
        return None
    indent = _indent(lines[line])

    def belongs(number: int) -> bool:
        return 0 <= number < len(lines) and _is_comment(lines[number]) and _indent(lines[number]) == indent

    first = last = line
    while belongs(first - 1):
        first -= 1
    while belongs(last + 1):
        last += 1
    prompt = comment_text(lines[first : last + 1])
    if not prompt:
        return None
    return Target(prompt=prompt, last_line=last, end_line=last, indent=indent, receiver=_receiver(lines, first))


def comment_text(lines: Sequence[str]) -> str:
    """Return what `#` lines say, without the signs and without TODO markers around it."""
    text = "\n".join(re.sub(r"^\s*#+:? ?", "", line).rstrip() for line in lines).strip()
    return _TRAILING_MARKER.sub("", _LEADING_MARKER.sub("", text)).strip()


def _find_stub(lines: Sequence[str], line: int) -> Target | None:
    for first in range(line, max(-1, line - _LONGEST_STUB), -1):
        header = _HEADER.match(lines[first])
        if header is not None:
            return _read_stub(lines, first, line, header.group(1))
    return None


def _read_stub(lines: Sequence[str], first: int, line: int, name: str) -> Target | None:
    """Read the function that starts at `first`; `None` unless only its body is missing."""
    chunk = textwrap.dedent("\n".join(lines[first : _end_of_block(lines, first)]))
    try:
        parsed = ast.parse(chunk).body
    except (SyntaxError, ValueError):
        return None
    if len(parsed) != 1 or not isinstance(parsed[0], ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    docstring, *rest = parsed[0].body
    if ast.get_docstring(parsed[0]) is None or not all(map(_says_nothing, rest)):
        return None
    last, end = first + _last_line(docstring), first + _last_line(parsed[0].body[-1])
    if line > end:
        return None
    prompt = textwrap.dedent("\n".join(lines[first : last + 1])).strip()
    indent = _indent(lines[first + docstring.lineno - 1])
    if docstring.lineno == parsed[0].lineno:
        # `def f(): "..."` on one line leaves no place for a body.
        return None
    receiver = _first_parameter(parsed[0]) if _is_in_class(lines, first) else None
    return Target(prompt=prompt, last_line=last, end_line=end, indent=indent, function=name, receiver=receiver)


def _receiver(lines: Sequence[str], line: int) -> str | None:
    return "self" if _is_in_class(lines, line) else None


def _is_in_class(lines: Sequence[str], line: int) -> bool:
    """Whether `line` stands in the body of a class, and in nothing else that is within it."""
    depth = _depth(lines[line])
    for text in reversed(lines[:line]):
        if text.strip() and not _is_comment(text) and _depth(text) < depth and text.strip()[0] not in _CLOSING:
            return _CLASS.match(text) is not None
    return False


def _first_parameter(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    """Return what a method calls its object; `None` for one that has none."""
    parameters = [*function.args.posonlyargs, *function.args.args]
    static = any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in function.decorator_list)
    return parameters[0].arg if parameters and not static else None


def _end_of_block(lines: Sequence[str], first: int) -> int:
    """Return the line at which the block of the header at `first` has ended."""
    depth = _depth(lines[first])
    for number in range(first + 1, len(lines)):
        text = lines[number].strip()
        if text and _depth(lines[number]) <= depth and text[0] not in _CLOSING:
            return number
    return len(lines)


def _says_nothing(statement: ast.stmt) -> bool:
    """Whether a statement is `pass` or `...`."""
    if isinstance(statement, ast.Pass):
        return True
    return isinstance(statement, ast.Expr) and getattr(statement.value, "value", None) is Ellipsis


def _last_line(node: ast.stmt) -> int:
    """Return the line of the last character of `node`, from 0."""
    assert node.end_lineno is not None
    return node.end_lineno - 1


def _is_comment(line: str) -> bool:
    text = line.strip()
    return text.startswith("#") and _PRAGMA.match(text) is None


def _depth(line: str) -> int:
    return len(_indent(line).expandtabs())


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]
