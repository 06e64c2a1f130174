"""`assistant/generate`: from a comment, or a description that was typed, to code."""

from __future__ import annotations

from typing import Any

from core.messages import GenerateRequest
from server.documents import take_snapshot
from server.insertion import Place, below, comment_at, with_edit
from server.params import GenerateParams
from server.server import AssistantServer
from server.work import Work


def register(server: AssistantServer) -> None:
    """Attach the handlers."""
    server.request("assistant/generate", "Generating code", GenerateParams, generate)


async def generate(ls: AssistantServer, params: GenerateParams, work: Work) -> dict[str, Any]:
    """Write the code; where a place is given, also the edit that inserts it there."""
    request, place = read_generate(ls, params)
    return with_edit(ls.workspace, await work.call_raw(request), place)


def read_generate(ls: AssistantServer, params: GenerateParams) -> tuple[GenerateRequest, Place | None]:
    """Return what to ask of the engine, and where the code goes.

    Raises:
        InvalidParams: There is neither a prompt nor a place to read it from.
        NotFound: There is no such document, or no comment at that place.
    """
    document = None if params.text_document is None else take_snapshot(ls.workspace, params.text_document)
    language = "python" if document is None else document.language
    if params.prompt is not None:
        request = GenerateRequest(prompt=params.prompt, language=language, force=params.force)
        return request, below(document, params.position, params.prompt)
    place = comment_at(document, params.position)
    return GenerateRequest(prompt=place.target.prompt, language=language, force=params.force), place
