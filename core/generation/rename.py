"""Renaming in Python source: by scope, never capturing another name, all else byte for byte.

A renaming that would change what any name means is refused, as is one that cannot be proved
right. The scoping rules are those of the language reference, "Naming and binding".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


class RenameRefused(Exception):
    """The renaming would change what the code does, or cannot be shown not to."""


@dataclass(eq=False, slots=True)
class Scope:
    """A region of the source in which names are bound."""

    node: ast.AST
    parent: Scope | None
    bound: set[str] = field(default_factory=set)
    outer: set[str] = field(default_factory=set)
    """Names declared `nonlocal`."""
    outermost: set[str] = field(default_factory=set)
    """Names declared `global`."""

    def resolve(self, name: str) -> Scope:
        """Return the scope that `name`, used here, belongs to; the outermost for builtins."""
        scope, visible, wanted = self, True, name not in self.outermost
        while scope.parent is not None:
            if wanted and visible and name in scope.bound and name not in scope.outer:
                return scope
            scope = scope.parent
            visible = not isinstance(scope.node, ast.ClassDef)
            wanted = wanted and name not in scope.outermost
        return scope

    def inside(self, other: Scope) -> bool:
        """Whether this scope is `other` or lies within it."""
        scope: Scope | None = self
        while scope is not None and scope is not other:
            scope = scope.parent
        return scope is other


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A name in the source."""

    name: str
    scope: Scope
    offset: int | None
    """Where it stands, in characters; None where the syntax tree does not tell."""


class Names(ast.NodeVisitor):
    """All names of a module, each with the scope it stands in."""

    def __init__(self, source: str) -> None:
        self.tree = ast.parse(source)
        self.module = Scope(self.tree, None)
        self.scopes: dict[ast.AST, Scope] = {self.tree: self.module}
        self.occurrences: list[Occurrence] = []
        self._source = source
        self._lines = source.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._scope = self.module
        self.visit(self.tree)

    def visit_Name(self, node: ast.Name) -> None:
        """Record a use; anything but a load binds."""
        self._add(node.id, self.offset(node), bind=not isinstance(node.ctx, ast.Load))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        """Bind `name := value` outside the comprehensions it stands in."""
        self.visit(node.value)
        inner, scope = self._scope, self._scope
        while isinstance(scope.node, _COMPREHENSIONS) and scope.parent is not None:
            scope = scope.parent
        self._scope = scope
        self.visit(node.target)
        self._scope = inner

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Bind the name outside, the parameters inside."""
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """Treat as any function."""
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Bind the parameters inside."""
        self._outside(node.args)
        self._within(node, [*_parameters(node.args), node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Bind the name outside; the body is a scope that functions in it do not see."""
        self._refuse_type_parameters(node)
        self._visit_all([*node.decorator_list, *node.bases, *node.keywords])
        self._add(node.name, self._defined(node), bind=True)
        self._within(node, node.body)

    def visit_arg(self, node: ast.arg) -> None:
        """Bind a parameter."""
        self._add(node.arg, self.offset(node), bind=True)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        """Treat as any comprehension."""
        self._comprehension(node, [node.elt])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        """Treat as any comprehension."""
        self._comprehension(node, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        """Treat as any comprehension."""
        self._comprehension(node, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        """Treat as any comprehension."""
        self._comprehension(node, [node.key, node.value])

    def visit_alias(self, node: ast.alias) -> None:
        """Bind what an import brings."""
        self._add((node.asname or node.name).partition(".")[0], None, bind=True)

    def visit_Global(self, node: ast.Global) -> None:
        """Take names from outside."""
        self._scope.outermost.update(node.names)
        self._declare(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        """Take names from outside."""
        self._scope.outer.update(node.names)
        self._declare(node.names)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """Bind the exception."""
        self._bind_if_named(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        """Bind a captured value."""
        self._bind_if_named(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        """Bind captured values."""
        self._bind_if_named(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        """Bind the rest of a mapping."""
        self._bind_if_named(node.rest)
        self.generic_visit(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._refuse_type_parameters(node)
        self._visit_all(node.decorator_list)
        self._outside(node.args)
        self._visit_all([node.returns] if node.returns else [])
        self._add(node.name, self._defined(node), bind=True)
        self._within(node, [*_parameters(node.args), *node.body])

    def _outside(self, arguments: ast.arguments) -> None:
        """Visit what of a parameter list is evaluated outside the function."""
        annotations = [one.annotation for one in _parameters(arguments) if one.annotation]
        self._visit_all([*arguments.defaults, *(one for one in arguments.kw_defaults if one), *annotations])

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, results: list[ast.expr]
    ) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        rest = [part for one in others for part in (one.target, one.iter, *one.ifs)]
        self._within(node, [first.target, *first.ifs, *rest, *results])

    def _within(self, node: ast.AST, parts: Iterable[ast.AST]) -> None:
        outer = self._scope
        self._scope = self.scopes[node] = Scope(node, outer)
        self._visit_all(parts)
        self._scope = outer

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _declare(self, names: Sequence[str]) -> None:
        for name in names:
            self._add(name, None, bind=False)

    def _bind_if_named(self, name: str | None) -> None:
        if name is not None:
            self._add(name, None, bind=True)

    def _add(self, name: str, offset: int | None, *, bind: bool) -> None:
        if bind:
            self._scope.bound.add(name)
        self.occurrences.append(Occurrence(name, self._scope, offset))

    def offset(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> int:
        """Return where a node begins, in characters (the tree counts UTF-8 bytes)."""
        line = self._lines[node.lineno - 1].encode()
        return self._starts[node.lineno - 1] + len(line[: node.col_offset].decode(errors="replace"))

    def _defined(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int | None:
        found = re.compile(r"(?:async\s+)?(?:def|class)\s+(\w+)").match(self._source, self.offset(node))
        return found.start(1) if found else None

    def _refuse_type_parameters(self, node: ast.AST) -> None:
        if getattr(node, "type_params", None):
            raise RenameRefused("type parameters have scopes of their own")


_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def rename_global(source: str, old: str, new: str) -> str:
    """Give a function or class defined at the top of a module another name.

    Raises:
        RenameRefused: The new name is taken where it would be seen, or the code looks names up
            by their text.
        SyntaxError: The source does not parse.
    """
    names = Names(source)
    return _rename(source, names, names.module, {old: new})


def rename_parameters(source: str, function: str, renames: Mapping[str, str]) -> str:
    """Give parameters of a top-level function other names, keyword arguments of its calls too.

    Raises:
        RenameRefused, SyntaxError: As for `rename_global`.
    """
    names = Names(source)
    node = next(
        one
        for one in names.tree.body
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) and one.name == function
    )
    return _rename(source, names, names.scopes[node], renames, _keywords(names, function, renames))


def _rename(
    source: str,
    names: Names,
    scope: Scope,
    renames: Mapping[str, str],
    further: Sequence[tuple[int, str]] = (),
) -> str:
    _refuse_reflection(names)
    edits = list(further)
    for one in names.occurrences:
        if _is_renamed(one, scope, renames):
            _refuse_if_captured(one, scope, renames[one.name])
            if one.offset is None or not source.startswith(one.name, one.offset):
                raise RenameRefused(f"it cannot be told where {one.name} stands")
            edits.append((one.offset, one.name))
        elif one.name in renames.values() and one.scope.inside(scope) and scope.inside(one.scope.resolve(one.name)):
            raise RenameRefused(f"the name {one.name} is already used")
    renamed = _apply(source, edits, renames)
    expected = [renames[one.name] if _is_renamed(one, scope, renames) else one.name for one in names.occurrences]
    if [one.name for one in Names(renamed).occurrences] != expected:
        raise RenameRefused("the result would mean something else")
    return renamed


def _is_renamed(one: Occurrence, scope: Scope, renames: Mapping[str, str]) -> bool:
    return one.name in renames and one.scope.resolve(one.name) is scope


def _refuse_if_captured(one: Occurrence, scope: Scope, new: str) -> None:
    found = one.scope.resolve(new)
    if found is not scope and found.inside(scope):
        raise RenameRefused(f"the name {new} is already used")


def _refuse_reflection(names: Names) -> None:
    looked_up = {one.name for one in names.occurrences} & {"eval", "exec", "globals", "locals", "vars"}
    if looked_up:
        raise RenameRefused(f"the code looks names up at run time ({', '.join(sorted(looked_up))})")


def _keywords(names: Names, function: str, renames: Mapping[str, str]) -> list[tuple[int, str]]:
    """Return where calls of the function name its parameters."""
    found = []
    for node in ast.walk(names.tree):
        if not isinstance(node, ast.Call):
            continue
        given = [one for one in node.keywords if one.arg in renames]
        if isinstance(node.func, ast.Name) and node.func.id == function:
            found += [(names.offset(one), str(one.arg)) for one in given]
        elif given and any(isinstance(one, ast.Name) and one.id == function for one in node.args):
            raise RenameRefused(f"{function} is called through another function")
    return found


def _apply(source: str, edits: Iterable[tuple[int, str]], renames: Mapping[str, str]) -> str:
    for offset, old in sorted(edits, reverse=True):
        source = source[:offset] + renames[old] + source[offset + len(old) :]
    return source


def _parameters(arguments: ast.arguments) -> list[ast.arg]:
    single = (arguments.vararg, arguments.kwarg)
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *(one for one in single if one)]
