"""Answering with a stored implementation, fitted to what was asked.

When a known task is practically the one that is asked for, its stored implementation is
correct and a model could only make it worse. So the code is taken as it is: only the name and
the parameters follow the description.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from core.generation.rename import RenameRefused, rename_global, rename_parameters
from core.generation.signature import Signature, asked_signature
from core.generation.syntax import parse

_RECEIVERS = ("self",), ("cls",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """A stored implementation, fitted."""

    code: str
    changes: tuple[str, ...]
    """One sentence for each change, and for each that was asked for but could not be made."""


def adapt(asked: str, implementation: str) -> Adaptation:
    """Fit a stored Python implementation to a description.

    The name that the description asks for replaces that of the entry point, and its parameters
    replace the stored ones by position; all else stays byte for byte, line ends apart. A change that could alter
    what the code does is left undone, and said to be.
    """
    implementation = implementation.replace("\r\n", "\n")
    signature = asked_signature(asked)
    entry = entry_point(implementation)
    if signature is None or entry is None:
        return Adaptation(code=implementation, changes=())
    code, renamed = _fit_name(implementation, entry.name, signature.name)
    code, reordered = _fit_parameters(code, signature)
    return Adaptation(code=code, changes=(*renamed, *reordered))


def entry_point(implementation: str) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
    """Return the definition a module is about: the last at its top that no other one uses.

    Functions come before classes, which mostly are their helpers.
    """
    tree = parse(implementation)
    if tree is None:
        return None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    definitions = [node for node in tree.body if isinstance(node, kinds)]
    functions = [node for node in definitions if not isinstance(node, ast.ClassDef)]
    candidates = functions or definitions
    unused = [one for one in candidates if not any(_uses(other, one.name) for other in definitions if other is not one)]
    return (unused or candidates or [None])[-1]


def _uses(node: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node))


def _fit_name(code: str, old: str, new: str) -> tuple[str, tuple[str, ...]]:
    if new == old:
        return code, ()
    try:
        renamed = rename_global(code, old, new)
    except RenameRefused as refusal:
        return code, (f"The name {old} was kept instead of {new}: {refusal}.",)
    return _rename_in_text(renamed, old, new), (f"Named {new} instead of {old}.",)


def _fit_parameters(code: str, signature: Signature) -> tuple[str, tuple[str, ...]]:
    entry = entry_point(code)
    if signature.parameters is None or entry is None or isinstance(entry, ast.ClassDef):
        return code, ()
    old = tuple(one.arg for one in (*entry.args.posonlyargs, *entry.args.args))
    new = signature.parameters
    if new[:1] in _RECEIVERS and old[:1] != new[:1]:  # the signature of a method
        new = new[1:]
    if old == new:
        return code, ()
    if len(old) != len(new):
        return code, (f"The parameters ({', '.join(old)}) were kept: {len(new)} were asked for.",)
    if any(name in old and old.index(name) != place for place, name in enumerate(new)):
        return code, (f"The parameters ({', '.join(old)}) were kept: their order is another.",)
    try:
        code = rename_parameters(code, entry.name, {a: b for a, b in zip(old, new, strict=True) if a != b})
    except RenameRefused as refusal:
        return code, (f"The parameters ({', '.join(old)}) were kept: {refusal}.",)
    return code, (f"Parameters named {', '.join(new)} instead of {', '.join(old)}.",)


def _rename_in_text(code: str, old: str, new: str) -> str:
    """Rename calls that comments and docstrings show, so that doctests still run."""
    call = re.compile(rf"(?<![\w.]){re.escape(old)}(?=\()")
    lines = code.split("\n")
    for line, start, end in _text_spans(code, lines):
        text = lines[line]
        lines[line] = text[:start] + call.sub(new, text[start:end]) + text[end:]
    return "\n".join(lines)


def _text_spans(code: str, lines: list[str]) -> Iterator[tuple[int, int, int]]:
    """Yield line, start and end of each part of a comment or docstring; last ones first."""
    fresh = True
    spans = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and fresh):
            (first, start), (last, end) = token.start, token.end
            spans += [
                (number - 1, start if number == first else 0, end if number == last else len(lines[number - 1]))
                for number in range(first, last + 1)
            ]
        if token.type != tokenize.COMMENT:
            fresh = token.type in {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT}
    return reversed(spans)
