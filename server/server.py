"""The language server's state, and how its handlers are attached."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from lsprotocol import types
from pygls.exceptions import FeatureRequestError, JsonRpcException, JsonRpcParseError
from pygls.lsp.server import LanguageServer

from core import codec
from core.errors import AssistantError
from core.version import VERSION
from server.configuration import Configuration
from server.engine_link import Connect, EngineLink
from server.errors import rpc_errors, to_rpc
from server.params import Delivery
from server.protocol import AssistantProtocol, plain_converter
from server.shown_files import ShownFiles
from server.work import Work, begin_work

logger = logging.getLogger(__name__)

P = TypeVar("P")

STATE_CHANGED = "assistant/stateChanged"

STATE_INTERVAL = 0.05
"""Seconds within which changes of state are told as one."""


class AssistantServer(LanguageServer):
    """One editor window's language server."""

    protocol: AssistantProtocol

    def __init__(self, connect: Connect) -> None:
        super().__init__(
            "ai-codegen-assistant",
            VERSION,
            text_document_sync_kind=types.TextDocumentSyncKind.Incremental,
            protocol_cls=AssistantProtocol,
            converter_factory=plain_converter,
        )
        self.configuration = Configuration(self)
        self.engine = EngineLink(connect, self.configuration.load, self._state_changed, self.show_error)
        self.conversations: dict[str, str] = {}
        """The conversation that goes on in each document, for editors that have only commands."""
        self.files = ShownFiles()
        self.exit_was_abrupt = False
        """Whether the editor said `exit` without `shutdown`, which the exit status tells."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._state_timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Connect to the engine, showing how far that is."""
        self.spawn(self.configuration.watch, "watch-settings")
        async with begin_work(self, "Starting the assistant", Delivery()) as work:
            await work.connect()

    def request(
        self,
        method: str,
        title: str,
        kind: type[P],
        handler: Callable[[AssistantServer, P, Work], Awaitable[Any]],
    ) -> None:
        """Answer `method` with what `handler` makes of its params.

        Args:
            method: The request's name.
            title: What the progress is called, for people.
            kind: The dataclass that the params are decoded into.
            handler: Returns the result; raises `AssistantError`.
        """

        async def answer(ls: AssistantServer, wire: Any) -> Any:
            with rpc_errors():
                params, delivery = codec.decode(kind, wire), codec.decode(Delivery, wire)
                async with begin_work(ls, title, delivery) as work:
                    return codec.encode(await handler(ls, params, work))

        self.feature(method)(answer)

    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> asyncio.Task[None]:
        """Run work in the background; what goes wrong is shown to the person."""
        task = asyncio.create_task(self._shown(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Stop all work and leave the engine."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.engine.close()

    def send(self, method: str, params: Any) -> None:
        """Send a notification."""
        self.protocol.notify(method, params)

    def show(self, message: str, kind: types.MessageType = types.MessageType.Info) -> None:
        """Show a message to the person."""
        self.window_show_message(types.ShowMessageParams(kind, message))

    def show_error(self, message: str) -> None:
        """Show an error to the person."""
        self.show(message, types.MessageType.Error)

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Answer what was not even JSON; log the rest by its kind alone, since texts may hold code."""
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
            self.protocol.refuse(None, JsonRpcParseError(f"The message is not JSON: {error}"))
        elif source is not FeatureRequestError:
            logger.error("A message from the editor could not be handled: %s", type(error).__name__)

    async def _shown(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except AssistantError as error:
            self.show_error(error.message)
        except Exception as error:
            logger.exception("Work in the background failed because of a fault in the language server")
            self.show_error(f"The language server failed: {type(error).__name__}. Its log says where.")

    def _state_changed(self) -> None:
        if self._state_timer is None:
            self._state_timer = asyncio.get_running_loop().call_later(STATE_INTERVAL, self._tell_state)

    def _tell_state(self) -> None:
        self._state_timer = None
        self.send(STATE_CHANGED, codec.encode(self.engine.status()))


def decode_argument(kind: type[P], arguments: tuple[Any, ...]) -> P:
    """Return a command's one argument as `kind`.

    Raises:
        JsonRpcException: There are more arguments, or it is malformed.
    """
    if len(arguments) > 1:
        raise JsonRpcException(f"arguments: takes one object, not {len(arguments)} values", code=-32602)
    try:
        return codec.decode(kind, arguments[0] if arguments else None)
    except AssistantError as error:
        raise to_rpc(error) from error
