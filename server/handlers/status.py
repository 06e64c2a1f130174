"""`assistant/status` and `assistant/models`: how things stand, and what is loaded."""

from __future__ import annotations

from core.messages import ModelsRequest, Status
from server.handlers.forwarding import forward
from server.params import NoParams
from server.server import AssistantServer
from server.work import Work


def register(server: AssistantServer) -> None:
    """Attach the handlers."""
    server.request("assistant/status", "Status", NoParams, status)
    forward(server, ModelsRequest, "Models")


async def status(ls: AssistantServer, _: NoParams, __: Work) -> Status:
    """Return the last state that the engine announced; never waits for it."""
    return ls.engine.status()
