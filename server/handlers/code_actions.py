"""Code actions: what the assistant can do at the cursor, for editors with nothing but menus.

They only name commands: models take seconds, and editors do not wait that long for an action.
There is nothing to resolve, since no action holds more than a place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lsprotocol import types

from server.comments import find_target
from server.documents import Snapshot, take_snapshot
from server.errors import rpc_errors
from server.handlers.commands import EXPLAIN_SELECTION, GENERATE_FROM_COMMENT, TEACH_SELECTION
from server.params import DocumentReference
from server.positions import Position, Range
from server.server import AssistantServer

EXPLAIN, GENERATE, TEACH = "assistant.explain", "assistant.generate", "assistant.teach"


def register(server: AssistantServer) -> None:
    """Attach the handlers."""
    options = types.CodeActionOptions(code_action_kinds=[EXPLAIN, GENERATE, TEACH])

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, options)
    def code_actions(ls: AssistantServer, params: types.CodeActionParams) -> Sequence[types.CodeAction | types.Command]:
        with rpc_errors():
            document = take_snapshot(ls.workspace, DocumentReference(uri=params.text_document.uri))
            chosen = _range(params.range)
            actions = [one for one in offer(document, chosen) if _wanted(one, params.context.only)]
            return actions if _understands_actions(ls) else [one.command for one in actions if one.command]


def offer(document: Snapshot, chosen: Range) -> Iterator[types.CodeAction]:
    """Yield the actions that make sense for a range of a document.

    Raises:
        InvalidParams: The range lies outside of the document.
    """
    text = document.text
    start = text.offset(chosen.start, document.encoding, "range.start")
    end = text.offset(chosen.end, document.encoding, "range.end")
    selected = text.text[start:end]
    reference: dict[str, Any] = {"textDocument": _reference(document)}
    whole = reference | {"range": _wire_range(chosen)}
    if selected.strip():
        yield _action("Explain selection", EXPLAIN, EXPLAIN_SELECTION, whole)
    if find_target(text.lines, chosen.start.line) is not None:
        place = reference | {"position": _wire_position(chosen.start)}
        yield _action("Generate code from this comment", GENERATE, GENERATE_FROM_COMMENT, place)
    if _holds_code(selected):
        yield _action("Teach this as a task", TEACH, TEACH_SELECTION, whole)


def _action(title: str, kind: str, command: str, argument: dict[str, Any]) -> types.CodeAction:
    return types.CodeAction(
        title=title, kind=kind, command=types.Command(title=title, command=command, arguments=[argument])
    )


def _holds_code(selected: str) -> bool:
    return any(line.strip() and not line.strip().startswith("#") for line in selected.splitlines())


def _wanted(action: types.CodeAction, only: Sequence[str] | None) -> bool:
    """Whether a kind is one of those asked for, or lies below one of them."""
    kind = str(action.kind)
    return only is None or any(one in ("", kind) or kind.startswith(f"{one}.") for one in map(_kind, only))


def _kind(kind: str) -> str:
    return str(kind.value) if isinstance(kind, types.CodeActionKind) else kind


def _understands_actions(ls: AssistantServer) -> bool:
    document = ls.client_capabilities.text_document
    actions = document.code_action if document is not None else None
    return actions is not None and actions.code_action_literal_support is not None


def _reference(document: Snapshot) -> dict[str, Any]:
    reference: dict[str, Any] = {"uri": document.uri}
    return reference if document.version is None else reference | {"version": document.version}


def _range(given: types.Range) -> Range:
    return Range(start=_position(given.start), end=_position(given.end))


def _position(given: types.Position) -> Position:
    return Position(line=given.line, character=given.character)


def _wire_range(given: Range) -> dict[str, Any]:
    return {"start": _wire_position(given.start), "end": _wire_position(given.end)}


def _wire_position(given: Position) -> dict[str, Any]:
    return {"line": given.line, "character": given.character}
