"""One client of the engine: its connection, its settings, its running requests."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Any

from core import codec
from core.cancellation import CancelToken
from core.context import RequestContext
from core.engine import wire
from core.errors import AssistantError, Cancelled, EngineUnavailable
from core.messages import PROTOCOL_VERSION, Event, Status
from core.settings import Settings, parse_settings
from core.version import VERSION

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 5.0
"""Seconds a new connection has to introduce itself."""

MAX_UNSENT = 16 * 1024 * 1024
"""Bytes a client may leave unread; one that reads nothing any more is dropped."""

Handle = Callable[["Session", str, dict[str, Any], RequestContext], Awaitable[Any]]
"""Runs one request: session, method, params, context → result dataclass."""


class Greeting(Enum):
    """How a handshake has ended."""

    WELCOME = auto()
    REFUSED = auto()
    SUPERSEDED = auto()
    """The client is of another version and nobody else is here: the engine leaves for the client's own."""


class Session:
    """Reads one client's requests, runs them at the same time, and answers each exactly once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handle) -> None:
        self.name = "unknown"
        self.settings = Settings()
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._writer = writer
        self._handle = handle
        self._running: dict[int, tuple[asyncio.Task[None], CancelToken]] = {}

    async def greet(self, token: str, alone: Callable[[], bool]) -> Greeting:
        """Shake hands.

        Args:
            token: The secret that it has to know.
            alone: Says whether it is the only client, so that the engine can leave for a newer one.
        """
        try:
            message = await asyncio.wait_for(wire.read(self._reader), HANDSHAKE_TIMEOUT)
        except (TimeoutError, EngineUnavailable):
            message = None
        hello = (message or {}).get("hello")
        if not isinstance(hello, dict) or not hmac.compare_digest(str(hello.get("token")).encode(), token.encode()):
            # Says nothing to somebody who does not know the secret.
            self._writer.close()
            return Greeting.REFUSED
        theirs = (hello.get("protocol"), hello.get("version"))
        if theirs != (PROTOCOL_VERSION, VERSION):
            leaving = alone()
            self._refuse(str(hello.get("version")), leaving=leaving)
            return Greeting.SUPERSEDED if leaving else Greeting.REFUSED
        self.name = str(hello.get("name"))
        problems = self.configure(hello.get("settings") or {})
        self._send({"welcome": {"version": VERSION, "problems": problems}})
        return Greeting.WELCOME

    def configure(self, section: dict[str, Any]) -> list[str]:
        """Use other settings from the next request on; return what was wrong with them."""
        self.settings, problems = parse_settings(section)
        return problems

    async def run(self) -> None:
        """Serve until the client has gone."""
        try:
            while (message := await wire.read(self._reader)) is not None:
                self._receive(message)
        except EngineUnavailable as error:
            log.warning("client %s: %s", self.name, error)

    async def end(self) -> None:
        """Drop what the client was waiting for."""
        for task, token in list(self._running.values()):
            token.cancel()
            task.cancel()
        await self._close()

    def send_state(self, status: Status) -> None:
        """Tell the client how things stand."""
        self._send({"state": codec.encode(status)})

    async def dismiss(self) -> None:
        """Answer everything that waits, say goodbye, and disconnect."""
        leaving = EngineUnavailable("The engine was stopped before it had answered; ask again to start it.")
        for call_id, (task, token) in list(self._running.items()):
            token.cancel()
            task.cancel()
            self._send({"id": call_id, "error": leaving.to_wire()})
        self._running.clear()
        self._send({"leaving": True})
        await self._close()

    def _receive(self, message: wire.Message) -> None:
        if "cancel" in message:
            task_and_token = self._running.get(message["cancel"])
            if task_and_token is not None:
                task_and_token[1].cancel()
            return
        call_id, token = message.get("id"), CancelToken()
        if not isinstance(call_id, int):
            raise EngineUnavailable("A request came without an id.")
        task = asyncio.create_task(self._answer(call_id, message, token), name=f"{self.name}:{message.get('method')}")
        self._running[call_id] = (task, token)

    async def _answer(self, call_id: int, message: wire.Message, token: CancelToken) -> None:
        def emit(event: Event) -> None:
            frame = {"id": call_id, "event": {"kind": event.kind, **codec.encode(event)}}
            self._loop.call_soon_threadsafe(self._send, frame)

        context = RequestContext(settings=self.settings, token=token, emit=emit)
        try:
            result = await self._handle(self, str(message.get("method")), message.get("params") or {}, context)
            # Events wait on the loop, also those of this thread: let them go ahead of the answer.
            await asyncio.sleep(0)
            answer = {"result": codec.encode(result)}
        except AssistantError as error:
            answer = {"error": (Cancelled() if token.cancelled else error).to_wire()}
        except Exception as error:  # the boundary: whatever went wrong, the client gets an answer
            log.exception("request %s failed", message.get("method"))
            answer = {"error": AssistantError(f"Internal error ({type(error).__name__}): {error}").to_wire()}
        if self._running.pop(call_id, None) is not None:
            self._send({"id": call_id, **answer})

    def _send(self, message: wire.Message) -> None:
        if self._writer.is_closing():
            return
        self._writer.write(wire.pack(message))
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT:
            log.warning("client %s reads nothing any more and is dropped", self.name)
            self._writer.transport.abort()

    def _refuse(self, version: str, *, leaving: bool) -> None:
        words = (
            f"The running engine is version {VERSION}, this client is version {version}. "
            "Close the other editor windows or run `ai-codegen-assistant stop`, then try again."
        )
        self._send({"refused": EngineUnavailable(words, leaving=leaving).to_wire()})
        self._writer.close()

    async def _close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 1.0)
