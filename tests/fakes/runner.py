"""A scripted model: says what it is told to, a word at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from core.cancellation import CancelToken
from core.errors import ContextTooLong
from core.models.interface import ChatMessage, SamplingParams, TokenChunk


@dataclass(slots=True)
class FakeRunner:
    """Implements `ModelRunner`; a token is a word, a space or a sign of its text.

    Attributes:
        replies: What the model says, one after the other; an exception is raised instead, in the
            middle of the reply, after `fail_after` pieces. The last one is repeated.
        gate: When given, waits for it before each piece, so that a test decides how far it gets.
        chats: Every chat that was encoded, with its reply prefix.
        prompts: Every prompt that was generated from.
    """

    replies: Iterable[str | BaseException] = ("",)
    name: str = "fake"
    context_length: int = 4096
    fail_after: int = 0
    gate: threading.Semaphore | None = None
    chats: list[tuple[list[ChatMessage], str]] = field(default_factory=list)
    prompts: list[list[int]] = field(default_factory=list)
    params: list[SamplingParams] = field(default_factory=list)
    _script: list[str | BaseException] = field(init=False)

    def __post_init__(self) -> None:
        self._script = list(self.replies)

    def count_tokens(self, text: str) -> int:
        return len(split(text))

    def encode_chat(self, messages: Sequence[ChatMessage], reply_prefix: str = "") -> list[int]:
        self.chats.append((list(messages), reply_prefix))
        text = "".join(f"<{one.role}>{one.content}" for one in messages) + f"<assistant>{reply_prefix}"
        return [hash(word) % 50_000 for word in split(text)]

    def generate(self, prompt: Sequence[int], params: SamplingParams, token: CancelToken) -> Iterator[TokenChunk]:
        if len(prompt) + params.max_tokens > self.context_length:
            raise ContextTooLong(f"{len(prompt)} + {params.max_tokens} tokens exceed {self.context_length}")
        self.prompts.append(list(prompt))
        self.params.append(params)
        token.raise_if_cancelled()
        reply = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        pieces = ["…"] * self.fail_after if isinstance(reply, BaseException) else split(reply)
        for piece in pieces[: params.max_tokens]:
            self._wait(token)
            yield TokenChunk(text=piece)
        if isinstance(reply, BaseException):
            raise reply
        yield TokenChunk(text="", tokens=0, finish="length" if len(pieces) > params.max_tokens else "stop")

    def _wait(self, token: CancelToken) -> None:
        while self.gate and not self.gate.acquire(timeout=0.01):
            token.raise_if_cancelled()
        token.raise_if_cancelled()


def split(text: str) -> list[str]:
    """Return the pieces that a text has for a `FakeRunner`."""
    return re.findall(r"\w+|\s|[^\w\s]", text)
