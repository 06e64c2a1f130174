"""Fitting a function into a class: it is given the object, and calls itself through it.

A class's body is no scope for the functions in it: what is imported or defined there is not seen
by them. So what a function needs besides itself goes into it, except for what its decorators,
defaults and annotations need. Code that cannot be fitted without changing what it does is left as
it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence

from core.generation.adapt import entry_point
from core.generation.postprocess import indent
from core.generation.rename import Names, RenameRefused
from core.generation.syntax import compiles, parse

RECEIVER = "self"
_RECEIVER_AND_MARK = re.compile(rf"\A{RECEIVER}\s*[.,]?\s*")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def as_method(code: str) -> str:
    """Return a module's function, and what it needs, as a method to be put into a class."""
    code = code.replace("\r\n", "\n")
    tree, entry = parse(code), entry_point(code)
    if tree is None or not isinstance(entry, _Function) or _shares_state(tree):
        return code
    others = [one for one in tree.body if (one.lineno, one.end_lineno) != (entry.lineno, entry.end_lineno)]
    bound = [_bound_names(one) for one in others]
    fitted = _through_receiver(code, entry.name, RECEIVER)
    if fitted is None or any(names is None for names in bound):
        return code
    lines = _with_receiver(fitted.split("\n"), entry)
    if lines is None:
        return code
    around = _used([*entry.decorator_list, entry.args, *([entry.returns] if entry.returns else [])])
    within = _used([*entry.body, *others])
    outside = [one for one, names in zip(others, bound, strict=True) if names and names & around]
    inside = [one for one, names in zip(others, bound, strict=True) if one not in outside or (names and names & within)]
    filled = _fill(entry, inside, lines)
    if filled is None:
        return code
    method = "\n".join([*_lines_of(outside, lines), *filled])
    return method if compiles(method) else code


def as_function(code: str) -> str:
    """Return a method that needs its object only to call itself as a function; all other code as it is."""
    code = code.replace("\r\n", "\n")
    entry, names = entry_point(code), _read_names(code)
    if names is None or not isinstance(entry, _Function):
        return code
    known = [one for one in names.occurrences if one.name in {RECEIVER, entry.name}]
    parameter, *calls = [one.offset for one in known if one.name == RECEIVER] or [None]
    first = next((names.offset(one) for one in [*entry.args.posonlyargs, *entry.args.args]), None)
    on_itself = {
        names.offset(one.value)
        for one in ast.walk(entry)
        if isinstance(one, ast.Attribute) and one.attr == entry.name and isinstance(one.value, ast.Name)
    }
    shadowed = sum(one.name == entry.name for one in known) > 1
    if parameter is None or parameter != first or shadowed or not on_itself.issuperset(calls):
        return code
    function = code
    for offset in sorted([parameter, *(one for one in calls if one is not None)], reverse=True):
        function = function[:offset] + _RECEIVER_AND_MARK.sub("", function[offset:], count=1)
    return function if compiles(function) else code


def call_on(code: str, function: str, receiver: str) -> str:
    """Return code whose function calls itself on an object, as a method has to."""
    code = code.replace("\r\n", "\n")
    return _through_receiver(code, function, receiver) or code


def _through_receiver(code: str, function: str, receiver: str) -> str | None:
    """Put the receiver before each use of a function; None if that would not be the function."""
    names = _read_names(code)
    if names is None:
        return None
    uses = [one for one in names.occurrences if one.name == function and one.scope.resolve(function) is names.module]
    inside = [one.offset for one in uses if one.scope is not names.module]
    outside = [one for one in uses if one.scope is names.module]
    taken = any(one.name == receiver for one in names.occurrences)
    if taken or len(outside) != 1 or any(offset is None for offset in inside):
        return None
    for offset in sorted((one for one in inside if one is not None), reverse=True):
        code = f"{code[:offset]}{receiver}.{code[offset:]}"
    return code


def _read_names(code: str) -> Names | None:
    try:
        return Names(code)
    except (RenameRefused, SyntaxError, ValueError, RecursionError):
        return None


def _with_receiver(lines: Sequence[str], entry: _Function) -> list[str] | None:
    """Put the receiver before the first parameter."""
    head, bracket, tail = lines[entry.lineno - 1].partition("(")
    if not bracket:
        return None
    arguments = entry.args
    alone = not any((arguments.posonlyargs, arguments.args, arguments.vararg, arguments.kwonlyargs, arguments.kwarg))
    separator = "" if alone else ", " if tail else ","
    changed = list(lines)
    changed[entry.lineno - 1] = f"{head}({RECEIVER}{separator}{tail}"
    return changed


def _fill(entry: _Function, statements: Sequence[ast.stmt], lines: Sequence[str]) -> list[str] | None:
    """Return the function's lines with statements put behind its docstring; None if there is no place for them."""
    first, end = _first_comment(entry, lines), _last_line(entry)
    if not statements:
        return list(lines[first:end])
    head = entry.body[0]
    behind = _last_line(head) if ast.get_docstring(entry, clean=False) is not None else _first_line(head)
    prefix = lines[_first_line(head)][: head.col_offset]
    if prefix.strip():
        return None
    moved = indent("\n".join(_lines_of(statements, lines)), prefix).split("\n")
    return [*lines[first:behind], *moved, *lines[behind:end]]


def _lines_of(statements: Iterable[ast.stmt], lines: Sequence[str]) -> list[str]:
    return [line for one in statements for line in lines[_first_comment(one, lines) : _last_line(one)]]


def _bound_names(statement: ast.stmt) -> set[str] | None:
    """Return the names that a statement defines; None for one that must not run again with each call.

    That is: anything with effects, and anything that would lose what it remembers or is known by, as a
    dictionary, a cache or a class.
    """
    match statement:
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return {(one.asname or one.name).partition(".")[0] for one in aliases}
        case ast.FunctionDef(name=name, decorator_list=[]) | ast.AsyncFunctionDef(name=name, decorator_list=[]):
            return {name}
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant()):
            return {name}
        case _:
            return None


def _shares_state(tree: ast.Module) -> bool:
    """Whether functions change what belongs to the module."""
    return any(isinstance(one, ast.Global) for one in ast.walk(tree))


def _used(nodes: Iterable[ast.AST]) -> set[str]:
    return {one.id for node in nodes for one in ast.walk(node) if isinstance(one, ast.Name)}


def _first_line(node: ast.stmt) -> int:
    """Return the line a statement begins at, its decorators included, from 0."""
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else []
    return min([node.lineno, *(one.lineno for one in decorators)]) - 1


def _first_comment(node: ast.stmt, lines: Sequence[str]) -> int:
    """Return the line at which the comments right above a statement at the top begin, from 0."""
    first = _first_line(node)
    while first > 0 and lines[first - 1].startswith("#"):
        first -= 1
    return first


def _last_line(node: ast.stmt) -> int:
    """Return the line behind a statement, from 0."""
    return node.end_lineno or node.lineno
