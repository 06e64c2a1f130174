"""An editor in the same process as the language server: messages go back and forth in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from server.server import AssistantServer

Message = dict[str, Any]

LIMIT = 5
"""Seconds; whatever takes longer hangs."""


class MemoryEditor:
    """Speaks JSON to a server object; `messages` holds all that the server has sent, in order."""

    def __init__(self, server: AssistantServer) -> None:
        self.server = server
        self.messages: list[Message] = []
        self.replies: dict[str, Callable[[Any], Any]] = {}
        """Answers to the server's own requests, by method; a method without one is not answered."""
        self._last_id = 0
        self._arrived = asyncio.Event()
        server.protocol.set_writer(self, include_headers=False)

    def write(self, data: bytes) -> None:
        """Take what the server sends."""
        message = json.loads(data)
        self.messages.append(message)
        self._arrived.set()
        reply = self.replies.get(message.get("method"))
        if reply is not None and "id" in message:
            asyncio.get_running_loop().call_soon(self._reply, message, reply)

    def close(self) -> None:
        """Be a writer to pygls."""

    def send(self, message: Any) -> None:
        self.server.protocol.handle_message(json.loads(json.dumps(message)))

    def notify(self, method: str, params: Any = None) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def start(self, method: str, params: Any = None) -> int:
        """Send a request and return its id."""
        self._last_id += 1
        self.send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        return self._last_id

    async def answer(self, request_id: int | None) -> Message:
        """Return the response to a request."""
        return await self.until(lambda: next((one for one in self.messages if _answers(one, request_id)), None))

    async def respond(self, method: str, params: Any = None) -> Message:
        return await self.answer(self.start(method, params))

    async def request(self, method: str, params: Any = None) -> Any:
        response = await self.respond(method, params)
        assert "error" not in response, response
        return response["result"]

    async def refused(self, method: str, params: Any = None) -> Message:
        response = await self.respond(method, params)
        assert "error" in response, response
        error: Message = response["error"]
        return error

    async def command(self, name: str, argument: Any = None) -> None:
        """Run a command; it answers before its work is done."""
        arguments = [] if argument is None else [argument]
        assert await self.request("workspace/executeCommand", {"command": name, "arguments": arguments}) is None

    async def initialize(self, capabilities: Message | None = None, **params: Any) -> Message:
        result: Message = await self.request("initialize", {"capabilities": capabilities or {}, **params})
        self.notify("initialized", {})
        return result

    def open(self, uri: str, text: str, version: int = 1, language: str = "python") -> None:
        document = {"uri": uri, "languageId": language, "version": version, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def change(self, uri: str, version: int, *changes: Message) -> None:
        self.notify(
            "textDocument/didChange", {"textDocument": {"uri": uri, "version": version}, "contentChanges": [*changes]}
        )

    def sent(self, method: str) -> list[Any]:
        """Return the params of the server's notifications or requests `method`."""
        return [one.get("params") for one in self.messages if one.get("method") == method]

    async def until_sent(self, method: str) -> Any:
        """Return the params of the newest message `method` once there is one."""
        return (await self.until(lambda: self.sent(method)))[-1]

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(LIMIT):
            while not (value := condition()):
                self._arrived.clear()
                await self._arrived.wait()
        return value

    def _reply(self, message: Message, reply: Callable[[Any], Any]) -> None:
        answer = reply(message.get("params"))
        body = answer if isinstance(answer, dict) and "error" in answer else {"result": answer}
        self.send({"jsonrpc": "2.0", "id": message["id"], **body})


def _answers(message: Message, request_id: int | None) -> bool:
    return "method" not in message and message.get("id") == request_id
