"""One piece of work in the engine, done for the editor."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Protocol, TypeVar

from core import codec
from core.errors import InvalidParams
from core.messages import Event, Request, Tokens
from server.engine_link import EngineLink
from server.params import Delivery
from server.progress import ProgressHost, Token, WorkProgress
from server.streaming import TOKENS, TokenStream

T = TypeVar("T")


class Work:
    """Sends requests to the engine; their tokens are streamed and their phases shown."""

    def __init__(self, engine: EngineLink, progress: WorkProgress, stream: TokenStream | None) -> None:
        self._engine = engine
        self._progress = progress
        self._stream = stream

    async def connect(self) -> None:
        """Return once the engine can be used."""
        await self._engine.ready()

    async def call_raw(self, request: Request) -> dict[str, Any]:
        """Return the engine's result as JSON values; every token has been sent by then.

        Cancelling the calling task cancels the work in the engine.

        Raises:
            AssistantError: The engine's answer, or `EngineUnavailable`.
        """
        engine = await self._engine.ready()
        return await engine.call_raw(request, self._on_event)

    async def call(self, request: Request, kind: type[T]) -> T:
        """Return the engine's result as `kind`."""
        return codec.decode(kind, await self.call_raw(request))

    def _on_event(self, event: Event) -> None:
        if not isinstance(event, Tokens):
            self._progress.report(event)
        elif self._stream is not None:
            self._stream.add(event.text)


class WorkHost(ProgressHost, Protocol):
    """What work needs of the server."""

    engine: EngineLink

    def send(self, method: str, params: Any) -> None:
        """Send a notification."""
        ...


@contextlib.asynccontextmanager
async def begin_work(host: WorkHost, title: str, delivery: Delivery) -> AsyncIterator[Work]:
    """Do one piece of work; its stream is complete and its progress ended when this is left.

    Cancelling the progress cancels the calling task.

    Raises:
        InvalidParams: The progress token is neither a string nor a whole number.
    """
    task = asyncio.current_task()
    assert task is not None
    progress = WorkProgress(host, title, _token(delivery.work_done_token), task.cancel)
    stream = _stream(host, delivery.stream_id)
    try:
        with host.engine.watched(progress.report):
            yield Work(host.engine, progress, stream)
    finally:
        if stream is not None:
            stream.flush()
        await progress.close()


def _stream(host: WorkHost, stream_id: str | None) -> TokenStream | None:
    if stream_id is None:
        return None
    return TokenStream(lambda text: host.send(TOKENS, {"streamId": stream_id, "text": text}))


def _token(given: Any) -> Token | None:
    if given is not None and (not isinstance(given, str | int) or isinstance(given, bool)):
        raise InvalidParams("workDoneToken", "must be a string or a whole number")
    return given
