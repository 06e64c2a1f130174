"""What editors may send with `assistant/...` requests, where it differs from the engine's requests.

Decoded by `core.codec`: camelCase on the wire, errors that name the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.messages import Intent
from server.positions import Position, Range


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReference:
    """A document, and the version the request is about."""

    uri: str
    version: int | None = None
    """When given, the request is refused for any other version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How an editor wants to follow a request; part of the params of each."""

    stream_id: str | None = None
    """Asks for `assistant/tokens` notifications that carry it."""
    work_done_token: Any = None
    """A string or a whole number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskParams:
    """Params of `assistant/ask`."""

    query: str
    conversation_id: str | None = None
    text_document: DocumentReference | None = None
    range: Range | None = None
    """The selection, if there is one."""
    position: Position | None = None
    """Where code would be inserted."""
    intent: Intent | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainParams:
    """Params of `assistant/explain`; a follow-up needs no selection."""

    text_document: DocumentReference | None = None
    range: Range | None = None
    question: str | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateParams:
    """Params of `assistant/generate`; without `prompt` the comment at `position` is the prompt."""

    prompt: str | None = None
    text_document: DocumentReference | None = None
    position: Position | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TeachSelectionParams:
    """Argument of the command `assistant.teachSelection`."""

    text_document: DocumentReference
    range: Range
    description: str | None = None
    """Derived from the selection when left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConversationParams:
    """Argument of the command `assistant.newConversation`; without a document it means all."""

    text_document: DocumentReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoParams:
    """For requests and commands that take nothing."""
