"""The protocol's lower edge: every request gets an answer, whatever was sent.

Reasons to differ from pygls (each observed with version 2.1.1):

- Params of unknown methods arrive there as nested named tuples; here as plain JSON values.
- A message that does not fit its type is dropped there, so that the client waits for ever;
  here it is answered with the field that is wrong.
- Lines are split there at characters at which no editor splits them.
- The work that a command has started cannot be cancelled there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Mapping
from typing import Any

from cattrs import Converter
from lsprotocol import converters, types
from pygls.exceptions import (
    JsonRpcException,
    JsonRpcInvalidRequest,
    JsonRpcServerNotInitialized,
)
from pygls.protocol import (
    JsonRPCNotification,
    JsonRPCRequestMessage,
    JsonRPCResponseMessage,
    LanguageServerProtocol,
    lsp_method,
)
from pygls.workspace import TextDocument, Workspace

from server.errors import to_rpc, unreadable_params
from server.positions import split_lines

logger = logging.getLogger(__name__)

MessageId = int | str


class EditorDocument(TextDocument):
    """An open document whose lines are those the editor counts."""

    @property
    def lines(self) -> list[str]:
        """The lines with their ends."""
        return split_lines(self.source)


class EditorWorkspace(Workspace):
    """The open documents."""

    def _create_text_document(
        self,
        doc_uri: str,
        source: str | None = None,
        version: int | None = None,
        language_id: str | None = None,
    ) -> EditorDocument:
        return EditorDocument(
            doc_uri,
            source=source,
            version=version,
            language_id=language_id,
            sync_kind=self._sync_kind,
            position_codec=self.position_codec,
        )


class AssistantProtocol(LanguageServerProtocol):
    """JSON-RPC as the assistant speaks it."""

    def __init__(self, server: Any, converter: Converter) -> None:
        self._command_tasks: dict[MessageId, asyncio.Task[Any]] = {}
        super().__init__(server, converter)

    @property
    def initialized(self) -> bool:
        """Whether `initialize` has been answered."""
        return self._workspace is not None

    @property
    def shutting_down(self) -> bool:
        """Whether the editor has asked for the end."""
        return bool(self._shutdown)

    def track_command(self, task: asyncio.Task[Any]) -> None:
        """Let a cancel of the command being handled reach the work it has started."""
        command = self.msg_id
        if command is not None:
            self._command_tasks[command] = task
            task.add_done_callback(lambda _: self._command_tasks.pop(command, None))

    def refuse(self, message_id: MessageId | None, problem: JsonRpcException) -> None:
        """Send an error response."""
        # Not the protocol's class for it, which leaves out an id that is null.
        error = {"code": problem.code, "message": problem.message, "data": problem.data}
        self._send_data({"jsonrpc": self.VERSION, "id": message_id, "error": error})

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, types.InitializeResult]:
        """Answer with the capabilities, and open a workspace that counts lines as editors do."""
        result = yield from super().lsp_initialize(params)
        opened = self.workspace
        folders = list(opened.folders.values())
        self._workspace = EditorWorkspace(opened.root_uri, opened._sync_kind, folders, opened.position_encoding)  # noqa: SLF001 - pygls has no factory for its workspace
        return result

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Leave JSON as it is: this is called for every nested object, from the inside out."""
        return data

    def handle_message(self, message: Any) -> None:
        """Handle what the editor sent, or refuse it with the reason."""
        try:
            self._check_envelope(message)
            structured = self._structure(message)
        except JsonRpcException as problem:
            self._answer_refused(message, problem)
        else:
            super().handle_message(structured)

    def _check_envelope(self, message: Any) -> None:
        if not isinstance(message, Mapping) or message.get("jsonrpc") != self.VERSION:
            raise JsonRpcInvalidRequest('A message must be an object with "jsonrpc": "2.0".')
        if "id" in message and not _is_id(message["id"]):
            raise JsonRpcInvalidRequest("id: must be a string or a whole number.")
        method = message.get("method")
        if method is None:
            return
        if not isinstance(method, str):
            raise JsonRpcInvalidRequest("method: must be a string.")
        if not self.initialized and method not in {types.INITIALIZE, types.EXIT}:
            raise JsonRpcServerNotInitialized(f"{method} came before initialize.")
        if self.initialized and method == types.INITIALIZE:
            raise JsonRpcInvalidRequest("initialize was sent twice.")
        if self.shutting_down and method != types.EXIT:
            raise JsonRpcInvalidRequest(f"{method} came after shutdown.")
        if "id" in message:
            # Before its params are looked at: an unknown method is unknown whatever comes with it.
            self._get_handler(method)

    def _structure(self, message: dict[str, Any]) -> Any:
        try:
            return super().structure_message(message)
        except JsonRpcException as problem:
            raise to_rpc(unreadable_params(problem.__cause__)) from problem

    def _answer_refused(self, message: Any, problem: JsonRpcException) -> None:
        """Send the refusal to whoever waits: the editor for a request, ourselves for a response."""
        if not isinstance(message, Mapping):
            self.refuse(None, problem)
        elif "method" in message and "id" not in message:
            logger.warning("The notification %s was refused: %s", message["method"], problem.message)
        elif "method" in message or "jsonrpc" not in message:
            message_id = message.get("id")
            self.refuse(message_id if _is_id(message_id) else None, problem)
        elif (waiting := self._request_futures.pop(message.get("id", ""), None)) is not None and not waiting.done():
            waiting.set_exception(problem)

    def _handle_response(
        self, msg_id: MessageId, result: Any | None = None, error: types.ResponseError | None = None
    ) -> None:
        waiting = self._request_futures.get(msg_id)
        if waiting is not None and waiting.done():
            # We stopped waiting for it; pygls would fail to set the result.
            self._request_futures.pop(msg_id)
            return
        super()._handle_response(msg_id, result, error)

    def _handle_cancel_notification(self, msg_id: MessageId) -> None:
        work = self._command_tasks.get(msg_id)
        if work is not None:
            work.cancel()
        if msg_id in self._request_futures:
            super()._handle_cancel_notification(msg_id)


def plain_converter() -> Converter:
    """Return a converter that leaves the params of methods without a type as they are."""
    converter = converters.get_converter()
    for kind in (JsonRPCRequestMessage, JsonRPCResponseMessage, JsonRPCNotification):
        converter.register_structure_hook(kind, _keep_plain)
    return converter


def _keep_plain(message: Mapping[str, Any], kind: Any) -> Any:
    names = [attribute.name for attribute in kind.__attrs_attrs__]
    return kind(**{name: message.get(name) for name in names})


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)
