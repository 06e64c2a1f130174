"""`assistant/explain`: what the selected code does, and talking on about it."""

from __future__ import annotations

from typing import Any

from core.errors import InvalidParams
from core.messages import CodeSelection, ExplainRequest
from server.documents import take_snapshot
from server.params import ExplainParams
from server.server import AssistantServer
from server.work import Work


def register(server: AssistantServer) -> None:
    """Attach the handlers."""
    server.request("assistant/explain", "Explaining", ExplainParams, explain)


async def explain(ls: AssistantServer, params: ExplainParams, work: Work) -> dict[str, Any]:
    """Explain the selection, or go on with a conversation."""
    return await work.call_raw(
        ExplainRequest(
            selection=selected_code(ls, params),
            question=params.question,
            conversation_id=params.conversation_id,
        )
    )


def selected_code(ls: AssistantServer, params: ExplainParams) -> CodeSelection | None:
    """Return the selection; only a question in a conversation may have none.

    Raises:
        InvalidParams: The selection is missing or unusable.
        NotFound: There is no such document.
    """
    if params.text_document is not None and params.range is not None:
        return take_snapshot(ls.workspace, params.text_document).selection(params.range)
    if params.text_document is None and params.range is None and params.question and params.conversation_id:
        return None
    missing = "textDocument" if params.text_document is None else "range"
    raise InvalidParams(missing, "is required, except for a question in a conversation")
