"""Where generated code goes, and whether it still may go there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lsprotocol import types
from pygls.workspace import Workspace

from core.errors import InvalidParams, NotFound
from server import edits
from server.comments import Target, find_target, given_target
from server.documents import Snapshot, open_document
from server.positions import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a document, as it was when the request came."""

    document: Snapshot
    target: Target

    def edit(self, code: str) -> types.WorkspaceEdit:
        """Return the edit that inserts `code`."""
        insertion = edits.insertion(self.document.text, self.target, code, self.document.encoding)
        return edits.workspace_edit(self.document.uri, self.document.version, [insertion])

    def refusal(self, workspace: Workspace) -> str | None:
        """Say that the document has changed meanwhile, so that nothing may be inserted."""
        now = open_document(workspace, self.document.uri)
        version = None if now is None else now.version
        if version == self.document.version:
            return None
        return (
            f"{self.document.name} was changed while the code was written (version {self.document.version} became "
            f"{version}), so nothing was inserted."
        )


def comment_at(document: Snapshot | None, position: Position | None) -> Place:
    """Return the place of a comment, whose text is the prompt.

    Raises:
        InvalidParams: No place is given, or it lies outside of the document.
        NotFound: There is no comment at that place.
    """
    if document is None or position is None:
        raise InvalidParams("prompt", "is required, unless textDocument and position point at a comment")
    document.text.offset(position, document.encoding)
    target = find_target(document.text.lines, position.line)
    if target is None:
        raise NotFound(
            f"There is no comment at line {position.line + 1} of {document.name}. Put the cursor into a comment, "
            "or into a function that has only a docstring."
        )
    return Place(document=document, target=target)


def below(document: Snapshot | None, position: Position | None, prompt: str) -> Place | None:
    """Return the place for code whose description was typed; `None` if no position is given.

    Raises:
        InvalidParams: The position lies outside of the document, or in none.
    """
    if position is None:
        return None
    if document is None:
        raise InvalidParams("textDocument", "is required with position")
    document.text.offset(position, document.encoding)
    lines = document.text.lines
    return Place(document=document, target=given_target(lines, min(position.line, len(lines) - 1), prompt))


def with_edit(workspace: Workspace, answer: dict[str, Any], place: Place | None) -> dict[str, Any]:
    """Add to a generation's result what was asked for, and its edit or why there is none."""
    if place is None:
        return answer
    answer = answer | {"prompt": place.target.prompt}
    code = answer.get("code")
    if not code:
        return answer
    refusal = place.refusal(workspace)
    return answer | ({"edit": place.edit(code)} if refusal is None else {"message": refusal})
