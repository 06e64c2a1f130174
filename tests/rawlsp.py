"""A client that speaks plain JSON-RPC to a language server over stdio: nothing is helped or hidden."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]

LIMIT = 240
"""Seconds; whatever takes longer hangs."""

START = (sys.executable, "-c", "import sys; from server.app import serve; sys.exit(serve())")


class RawClient:
    """One connection; `messages` holds everything that arrived, in order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.messages: list[Message] = []
        self.replies: dict[str, Callable[[Any], Any]] = {}
        """Answers to the server's own requests, by method; the default is null."""
        self._last_id = 0
        self._waiting: dict[Any, asyncio.Future[Message]] = {}
        self._arrived = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    # --- sending ---

    def write(self, body: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def send(self, message: Any) -> None:
        self.write(json.dumps(message).encode())

    def notify(self, method: str, params: Any = None) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def start(self, method: str, params: Any = None) -> tuple[int, asyncio.Future[Message]]:
        """Send a request; return its id and the future of its whole response."""
        self._last_id += 1
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[self._last_id] = answer
        self.send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        return self._last_id, answer

    async def respond(self, method: str, params: Any = None) -> Message:
        """Send a request and return the whole response."""
        _, answer = self.start(method, params)
        return await asyncio.wait_for(answer, LIMIT)

    async def request(self, method: str, params: Any = None) -> Any:
        """Send a request and return its result."""
        response = await self.respond(method, params)
        assert "error" not in response, response["error"]
        return response["result"]

    async def refused(self, method: str, params: Any = None) -> Message:
        """Send a request and return its error."""
        response = await self.respond(method, params)
        assert "error" in response, response
        error: Message = response["error"]
        return error

    def cancel(self, request_id: int) -> None:
        self.notify("$/cancelRequest", {"id": request_id})

    # --- the session ---

    async def initialize(self, capabilities: Message | None = None, **params: Any) -> Message:
        result: Message = await self.request(
            "initialize", {"processId": os.getpid(), "rootUri": None, "capabilities": capabilities or {}, **params}
        )
        self.notify("initialized", {})
        return result

    def open(self, uri: str, text: str, version: int = 1, language: str = "python") -> None:
        document = {"uri": uri, "languageId": language, "version": version, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def change(self, uri: str, text: str, version: int) -> None:
        document = {"uri": uri, "version": version}
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})

    async def shut_down(self) -> int:
        """End the session in order and return the exit status."""
        assert await self.request("shutdown") is None
        self.notify("exit")
        return await asyncio.wait_for(self.process.wait(), 20)

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        self._reading.cancel()

    # --- what arrived ---

    def notifications(self, method: str) -> list[Any]:
        return [one["params"] for one in self.messages if one.get("method") == method and "id" not in one]

    def requests(self, method: str) -> list[Any]:
        return [one["params"] for one in self.messages if one.get("method") == method and "id" in one]

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until `condition` is true of what has arrived, and return its value."""

        async def met() -> Any:
            async with self._arrived:
                while not (value := condition()):
                    await self._arrived.wait()
                return value

        return await asyncio.wait_for(met(), LIMIT)

    async def until_notified(self, method: str) -> Any:
        """Return the params of the newest notification `method` once there is one."""
        return (await self.until(lambda: self.notifications(method)))[-1]

    async def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                header = await self.process.stdout.readuntil(b"\r\n\r\n")
                fields = dict(line.split(": ", 1) for line in header.decode("ascii").strip().split("\r\n"))
                self._take(json.loads(await self.process.stdout.readexactly(int(fields["Content-Length"]))))
                async with self._arrived:
                    self._arrived.notify_all()

    def _take(self, message: Message) -> None:
        self.messages.append(message)
        if "method" not in message:
            waiting = self._waiting.pop(message.get("id"), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif "id" in message:
            reply = self.replies.get(message["method"], lambda _: None)(message["params"])
            answer = reply if isinstance(reply, dict) and "error" in reply else {"result": reply}
            self.send({"jsonrpc": "2.0", "id": message["id"], **answer})


@contextlib.asynccontextmanager
async def serving(home: Path, command: tuple[str, ...] = START, **environment: str) -> AsyncIterator[RawClient]:
    """Start a language server for the data folder `home`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "AI_CODEGEN_HOME": str(home), **environment},
        limit=64 * 1024 * 1024,
    )
    client = RawClient(process)
    try:
        yield client
    finally:
        await client.close()
