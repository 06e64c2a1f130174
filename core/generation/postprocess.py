"""Making generated code fit into a document: its syntax and its indentation."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
import warnings
from collections.abc import Iterator

from core.messages import Checks


def check_syntax(code: str, language: str = "python") -> Checks | None:
    """Say whether the code parses; None if nothing here can tell for this language."""
    if language != "python":
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape in generated code is no error
            ast.parse(code)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        return Checks(syntax=False, problem=f"{where}{error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Checks(syntax=False, problem=str(error) or "too deeply nested")
    return Checks(syntax=True)


def indent(code: str, prefix: str, language: str = "python") -> str:
    r"""Put `prefix` before every line of code that holds more than whitespace.

    In Python, lines that begin inside a string keep their beginning, since it is part of the
    string's value. In a docstring it is layout, so docstrings move with the code, unless that
    would change what `inspect.getdoc` returns. Line ends become `\n`, which Python reads all
    of them as.
    """
    code = code.replace("\r\n", "\n").replace("\r", "\n")
    lines = code.split("\n")
    fixed, moved = _lines_in_strings(code, prefix) if language == "python" else (set(), set())
    return "\n".join(
        prefix + line if number not in fixed and (line.strip() or (line and number in moved)) else line
        for number, line in enumerate(lines, start=1)
    )


def _lines_in_strings(code: str, prefix: str) -> tuple[set[int], set[int]]:
    """Return the numbers of lines inside strings: of those to keep, and of those that may move."""
    fixed: set[int] = set()
    moved: set[int] = set()
    for first, last, docstring in _strings(code):
        inside = range(first + 1, last + 1)
        (moved if docstring is not None and _may_move(docstring, prefix) else fixed).update(inside)
    return fixed, moved


def _strings(code: str) -> Iterator[tuple[int, int, str | None]]:
    """Yield first line, last line and, where it is a statement of its own, the text of each string."""
    tokens = _tokens(code)
    opened: list[int] = []
    fresh = True
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        kind = tokenize.tok_name[token.type]
        if token.type == tokenize.STRING:
            alone = fresh and following is not None and following.type == tokenize.NEWLINE
            yield token.start[0], token.end[0], token.string if alone else None
        elif kind.endswith("STRING_START"):  # from Python 3.12 on, f-strings come in parts
            opened.append(token.start[0])
        elif kind.endswith("STRING_END"):
            yield opened.pop(), token.end[0], None
        fresh = token.type in _BETWEEN_STATEMENTS or (fresh and token.type == tokenize.COMMENT)


_BETWEEN_STATEMENTS = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT}


def _tokens(code: str) -> list[tokenize.TokenInfo]:
    """Return the tokens up to the first that is none."""
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            found.append(token)  # noqa: PERF402 -- what came before an error is kept
    except (tokenize.TokenError, SyntaxError):
        pass
    return found


def _may_move(docstring: str, prefix: str) -> bool:
    first, *others = docstring.split("\n")
    moved = "\n".join([first, *(prefix + line if line else line for line in others)])
    try:
        return inspect.cleandoc(ast.literal_eval(docstring)) == inspect.cleandoc(ast.literal_eval(moved))
    except (SyntaxError, ValueError, TypeError, AttributeError):
        return False
