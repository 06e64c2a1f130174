"""Reading a task out of a selection: what it does, in words, and the code that does it.

Pure functions; nothing is run.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence

from server.comments import comment_text

_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")


def dedent(code: str) -> str:
    """Remove the indentation that all lines of a selection share, and blank lines around it."""
    return textwrap.dedent(code.expandtabs(4) if _mixes_indents(code) else code).strip("\r\n").rstrip()


def derive_description(code: str, above: Sequence[str]) -> str | None:
    """Say in words what a selected piece of code does, or `None` if nothing tells.

    The first of these that is there:

    1. the first paragraph of the docstring of the first function or class,
    2. the comment at the top of the selection,
    3. the comment directly above it,
    4. the name of the function or class, as words.

    Args:
        code: The selection, dedented.
        above: The document's lines above the selection.
    """
    definition = _first_definition(code)
    sources = (
        _first_paragraph(definition),
        comment_text(_leading_comment(code.splitlines())),
        comment_text(_leading_comment(above[::-1])[::-1]),
        _words(definition.name) if definition is not None else "",
    )
    return next((" ".join(source.split()) for source in sources if source), None)


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _first_definition(code: str) -> _Definition | None:
    try:
        statements = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return next((one for one in statements if isinstance(one, _Definition)), None)


def _first_paragraph(definition: _Definition | None) -> str:
    if definition is None:
        return ""
    paragraph = re.split(r"\n\s*\n|\n\s*>>>", ast.get_docstring(definition) or "")[0]
    return " ".join(paragraph.split())


def _leading_comment(lines: Sequence[str]) -> list[str]:
    """Return the `#` lines that `lines` start with."""
    comment: list[str] = []
    for line in lines:
        if not line.strip().startswith("#"):
            break
        comment.append(line)
    return comment


def _words(name: str) -> str:
    """Return `reverse_words` or `reverseWords` as "Reverse words"."""
    return " ".join(word.lower() for word in _WORD_BORDER.split(name) if word).capitalize()


def _mixes_indents(code: str) -> bool:
    indents = [re.match(r"[ \t]*", line) for line in code.splitlines() if line.strip()]
    return len({found.group()[:1] for found in indents if found and found.group()}) > 1
