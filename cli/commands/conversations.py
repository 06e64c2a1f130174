"""`conversations`: past talks about code."""

from __future__ import annotations

from cli.context import Context
from cli.parser import Commands, add_command
from core.messages import (
    Conversation,
    ConversationList,
    ConversationRequest,
    ConversationsRequest,
    Done,
    ForgetConversationRequest,
)


def register(commands: Commands) -> None:
    """Add the commands."""
    conversations = add_command(commands, "conversations", None, "list, show or forget past conversations")
    actions = conversations.add_subparsers(metavar="ACTION", required=True)
    listing = add_command(actions, "list", run_list, "list conversations, newest first")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="show at most this many (default: 50)")
    show = add_command(actions, "show", run_show, "show a conversation, turn by turn")
    forget = add_command(actions, "forget", run_forget, "delete a conversation for good")
    for parser in (show, forget):
        parser.add_argument("conversation", metavar="ID")


def run_list(context: Context) -> ConversationList:
    """List conversations."""
    return context.call(ConversationsRequest(limit=context.options.limit), ConversationList)


def run_show(context: Context) -> Conversation:
    """Show a conversation."""
    return context.call(ConversationRequest(conversation_id=context.options.conversation), Conversation)


def run_forget(context: Context) -> Done:
    """Delete a conversation."""
    return context.call(ForgetConversationRequest(conversation_id=context.options.conversation), Done)
