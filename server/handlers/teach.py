"""`assistant/teach`: storing a solved task."""

from __future__ import annotations

from core.messages import TeachRequest
from server.handlers.forwarding import forward
from server.server import AssistantServer


def register(server: AssistantServer) -> None:
    """Attach the handlers."""
    forward(server, TeachRequest, "Learning the task")
