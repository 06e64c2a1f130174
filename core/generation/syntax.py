"""Parsing Python that nobody vouches for."""

from __future__ import annotations

import ast
import warnings


def parse(source: str) -> ast.Module | None:
    """Return the syntax tree, or None if the source is not correct Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape is nobody's business here
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def compiles(source: str) -> bool:
    """Whether the source is correct Python in every way that can be told without running it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<code>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
