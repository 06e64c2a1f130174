"""`assistant/ask`: one question, and the router decides what it is."""

from __future__ import annotations

from typing import Any

from core.errors import InvalidParams
from core.messages import AskRequest, CodeSelection
from server.documents import Snapshot, take_snapshot
from server.insertion import Place, below, with_edit
from server.params import AskParams
from server.positions import Range
from server.server import AssistantServer
from server.work import Work


def register(server: AssistantServer) -> None:
    """Attach the handlers."""
    server.request("assistant/ask", "Answering", AskParams, ask)


async def ask(ls: AssistantServer, params: AskParams, work: Work) -> dict[str, Any]:
    """Route the query, and answer it."""
    request, place = read_ask(ls, params)
    return with_edit(ls.workspace, await work.call_raw(request), place)


def read_ask(ls: AssistantServer, params: AskParams) -> tuple[AskRequest, Place | None]:
    """Return what to ask of the engine, and where code would go.

    Raises:
        InvalidParams: The selection or the position is unusable.
        NotFound: There is no such document.
    """
    document = None if params.text_document is None else take_snapshot(ls.workspace, params.text_document)
    request = AskRequest(
        query=params.query,
        conversation_id=params.conversation_id,
        selection=_selection(document, params.range),
        language="python" if document is None else document.language,
        intent=params.intent,
        force=params.force,
    )
    return request, below(document, params.position, params.query)


def _selection(document: Snapshot | None, chosen: Range | None) -> CodeSelection | None:
    """Return the selected code; an empty range is a cursor, which selects nothing."""
    if chosen is None or chosen.start == chosen.end:
        return None
    if document is None:
        raise InvalidParams("textDocument", "is required with range")
    return document.selection(chosen)
