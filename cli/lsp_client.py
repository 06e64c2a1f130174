"""A small LSP client: what an editor says to a language server, without an editor.

Messages are framed as the protocol demands; a thread reads them, so that notifications arrive
while a request waits.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, Self

from core.errors import AssistantError, EngineUnavailable

OnNotification = Callable[[str, Any], None]
OnRequest = Callable[[str, Any], Any]

_END_TIMEOUT = 10.0
"""Seconds the server may take to leave after `exit`."""


class LspError(AssistantError):
    """The server answered a request with an error."""

    code = "lspError"


class LspClient:
    """A language server as a child process."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        log: Path,
        on_notification: OnNotification,
        on_request: OnRequest,
    ) -> None:
        """Start the server.

        Args:
            command: Its command line.
            cwd: Its working directory.
            environment: Its environment.
            log: Gets what it writes to standard error.
            on_notification: Told about notifications, in order, on the reading thread.
            on_request: Answers the server's own requests, on the reading thread.
        """
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, cwd=cwd, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        self._on_notification = on_notification
        self._on_request = on_request
        self._ids = itertools.count(1)
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._waiting: dict[int, Future[Any]] = {}
        self._reader = threading.Thread(target=self._read, name="lsp-reader", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, method: str, params: Any, *, timeout: float) -> Any:
        """Send a request and return its result.

        Raises:
            LspError: The server answered with an error.
            EngineUnavailable: The server has ended.
            TimeoutError: No answer came within `timeout` seconds.
        """
        number = next(self._ids)
        answer = self._waiting[number] = Future()
        try:
            if self._ended.is_set():
                raise EngineUnavailable("The language server has ended.")
            self._send({"id": number, "method": method, "params": params})
            return answer.result(timeout)
        except KeyboardInterrupt:
            self.notify("$/cancelRequest", {"id": number})
            raise
        finally:
            self._waiting.pop(number, None)

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def close(self) -> None:
        """End the server: in order if it still answers, by force if it does not."""
        try:
            self.request("shutdown", None, timeout=_END_TIMEOUT)
            self.notify("exit", None)
            self._process.wait(_END_TIMEOUT)
        except (AssistantError, TimeoutError, subprocess.TimeoutExpired, OSError):
            self._process.kill()
            self._process.wait()
        self._reader.join(_END_TIMEOUT)
        self._stdin.close()
        self._stdout.close()

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        try:
            with self._writing:
                self._stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
                self._stdin.flush()
        except OSError as error:
            raise EngineUnavailable(f"The language server has ended: {error.strerror}") from None

    def _read(self) -> None:
        while (message := self._receive()) is not None:
            self._dispatch(message)
        self._ended.set()
        for answer in list(self._waiting.values()):
            if not answer.done():
                answer.set_exception(EngineUnavailable("The language server ended before it had answered."))

    def _receive(self) -> dict[str, Any] | None:
        length = 0
        while (line := self._stdout.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if not length:
            return None
        message: dict[str, Any] = json.loads(self._stdout.read(length))
        return message

    def _dispatch(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            answer = self._waiting.get(message["id"])
            if answer is None or answer.done():
                return
            if "error" in message:
                error = message["error"]
                answer.set_exception(LspError(error["message"], code=error["code"], details=error.get("data")))
            else:
                answer.set_result(message.get("result"))
        elif "id" in message:
            self._send({"id": message["id"], "result": self._on_request(message["method"], message.get("params"))})
        else:
            self._on_notification(message["method"], message.get("params"))
