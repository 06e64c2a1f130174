"""`assistant/conversations` and its kin: what was talked about before."""

from __future__ import annotations

from core.messages import ConversationRequest, ConversationsRequest, ForgetConversationRequest
from server.handlers.forwarding import forward
from server.server import AssistantServer


def register(server: AssistantServer) -> None:
    """Attach the handlers."""
    forward(server, ConversationsRequest, "Listing conversations")
    forward(server, ConversationRequest, "Reading the conversation")
    forward(server, ForgetConversationRequest, "Forgetting the conversation")
