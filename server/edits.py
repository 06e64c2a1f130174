"""Putting generated code into a document: where, and how it is laid out.

Pure functions; whether the document is still the same is checked where these are used.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from lsprotocol import types
from lsprotocol.types import PositionEncodingKind

from core.generation.method import as_function, as_method, call_on
from core.generation.postprocess import indent
from server.comments import Target
from server.positions import LinedText


def insertion(text: LinedText, target: Target, code: str, encoding: PositionEncodingKind) -> types.TextEdit:
    """Return the one edit that puts `code` below its comment, with the comment's indentation."""
    wanted = fitted(code, target)
    laid_out = indent(wanted.strip("\n"), target.indent).replace("\n", text.newline)
    start = text.end_of_line(target.last_line, encoding)
    end = text.end_of_line(target.end_line, encoding)
    return types.TextEdit(
        range=types.Range(types.Position(start.line, start.character), types.Position(end.line, end.character)),
        new_text=text.newline + laid_out,
    )


def fitted(code: str, target: Target) -> str:
    """Return what of `code` belongs at its place: in a class a method, elsewhere a function, in an empty one its body."""
    if target.function is not None:
        called = code if target.receiver is None else call_on(code, target.function, target.receiver)
        return function_body(called, target.function)
    return as_function(code) if target.receiver is None else as_method(code)


def workspace_edit(uri: str, version: int | None, edits: Sequence[types.TextEdit]) -> types.WorkspaceEdit:
    """Return an edit that editors refuse once the document has another version."""
    document = types.OptionalVersionedTextDocumentIdentifier(uri=uri, version=version)
    return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(text_document=document, edits=list(edits))])


def unversioned(edit: types.WorkspaceEdit) -> types.WorkspaceEdit:
    """Return the same edit for editors that know no `documentChanges`."""
    changes: dict[str, list[types.TextEdit]] = {}
    for change in edit.document_changes or ():
        assert isinstance(change, types.TextDocumentEdit)
        changes[change.text_document.uri] = [one for one in change.edits if isinstance(one, types.TextEdit)]
    return types.WorkspaceEdit(changes=changes)


def function_body(code: str, name: str) -> str:
    """Return what belongs below the docstring of the function `name`.

    The person's own signature and docstring stay. What the code defines besides the function
    (imports, helpers) goes to the top of the body, so that nothing is lost. Code without such a
    function is taken for the body itself.
    """
    try:
        statements = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code
    functions = [one for one in statements if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    wanted = next((one for one in functions if one.name == name), None)
    if wanted is None or _on_one_line(wanted):
        return code
    body = wanted.body[1:] if ast.get_docstring(wanted) is not None else wanted.body
    lines = code.split("\n")
    first = min([wanted.lineno, *(one.lineno for one in wanted.decorator_list)]) - 1
    end = wanted.end_lineno or len(lines)
    around = "\n".join([*lines[:first], *lines[end:]]).strip("\n")
    inside = _dedent(lines[body[0].lineno - 1 : end], body[0].col_offset) if body else "pass"
    return "\n".join(filter(None, [around, inside]))


def _on_one_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return function.body[0].lineno == function.lineno


def _dedent(lines: Sequence[str], depth: int) -> str:
    """Remove up to `depth` columns of indentation; lines inside strings may have less."""
    return "\n".join(line[min(depth, len(line) - len(line.lstrip())) :] for line in lines)
