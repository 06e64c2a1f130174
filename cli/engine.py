"""The engine for code that may block: the keyboard is read on the main thread.

The asynchronous client lives on the loop of a thread of its own, so that it hears of the
engine's changes even while a person is typing.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, Self, TypeVar

import psutil

from core import codec
from core.engine import endpoint as endpoints
from core.engine.client import EngineClient
from core.errors import AssistantError, EngineUnavailable
from core.messages import Event, Explanation, Generation, Phase, Request, ShutdownRequest
from core.paths import DataFolders

T = TypeVar("T")

OnEvent = Callable[[Event], None]

_SIGNAL_POLL = 0.2
"""Seconds; on Windows a thread that waits for a lock hears of Ctrl-C only in between."""


_STOP_TIMEOUT = 10.0
"""Seconds the engine may take to leave before more is done about it."""

_END_POLL = 0.05

_MODULE = "ai_codegen_assistant"


class Engine(Protocol):
    """What commands ask of the engine."""

    def call(self, request: Request, on_event: OnEvent) -> dict[str, Any]:
        """Send a request and wait for its result, as JSON values; Ctrl-C cancels it in the engine.

        Raises:
            AssistantError: The engine's answer.
        """
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


Connect = Callable[[DataFolders, dict[str, Any], OnEvent], Engine]


class BlockingClient:
    """An `EngineClient` whose calls block."""

    def __init__(self, folders: DataFolders, settings: dict[str, Any]) -> None:
        """Start the thread; nothing is connected before the first call."""
        self._on_event: OnEvent = _ignore
        self._client = EngineClient(folders, name="command line", settings=settings, on_phase=self._report)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine-client", daemon=True)
        self._thread.start()

    @classmethod
    def connect(cls, folders: DataFolders, settings: dict[str, Any], on_event: OnEvent) -> Self:
        """Connect, starting the engine if there is none.

        Raises:
            EngineUnavailable: It could not be started or does not answer.
            StorageFailed: The data folder cannot be used.
        """
        client = cls(folders, settings)
        client._on_event = on_event
        try:
            client._wait(client._client.ready())
        except BaseException:
            client.close()
            raise
        return client

    def call(self, request: Request, on_event: OnEvent) -> dict[str, Any]:
        """Send a request and wait for its result; Ctrl-C cancels it in the engine."""
        self._on_event = on_event
        try:
            return self._wait(self._client.call_raw(request, on_event))
        finally:
            self._on_event = _ignore

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _report(self, phase: Phase) -> None:
        self._on_event(phase)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not future.done():
                try:
                    return future.result(timeout=_SIGNAL_POLL)
                except TimeoutError:
                    continue
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise


def stop_engine(folders: DataFolders, connect: Connect) -> str:
    """End the engine in order, or by force if it does not answer; return what was done.

    Raises:
        EngineUnavailable: It cannot be ended.
    """
    announced = endpoints.find(folders)
    process = _engine_process(announced.pid) if announced is not None else None
    if process is None:
        return "No engine is running."
    # In a thread, because an engine that hangs answers nobody.
    asking = threading.Thread(target=_ask_to_leave, args=(folders, connect), name="ask-to-leave", daemon=True)
    for end in (asking.start, process.terminate, process.kill):
        with contextlib.suppress(psutil.NoSuchProcess):
            end()
        if _wait_for_end(process):
            return f"The engine (process {process.pid}) has ended."
    raise EngineUnavailable(f"The engine (process {process.pid}) cannot be ended.")


def decode_answer(wire: dict[str, Any]) -> Explanation | Generation:
    """Read the result of `ask`, which is that of the intent the router chose."""
    if wire.get("status") == "answered":
        return codec.decode(Explanation, wire)
    return codec.decode(Generation, wire)


def _ask_to_leave(folders: DataFolders, connect: Connect) -> None:
    with contextlib.suppress(AssistantError):
        engine = connect(folders, {}, _ignore)
        engine.call(ShutdownRequest(), _ignore)
        engine.close()


def _engine_process(pid: int) -> psutil.Process | None:
    """Return the process if it is an engine; its number may belong to another program by now."""
    try:
        process = psutil.Process(pid)
        return process if _MODULE in process.cmdline() else None
    except psutil.Error:
        return None


def _wait_for_end(process: psutil.Process) -> bool:
    deadline = time.monotonic() + _STOP_TIMEOUT
    while not _has_ended(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_END_POLL)
    return True


def _has_ended(process: psutil.Process) -> bool:
    """Say whether a process has ended; its number lasts until whoever started it takes note, as an editor may not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _ignore(_: Event) -> None:
    """Take no notice."""
