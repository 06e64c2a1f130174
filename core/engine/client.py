"""The engine as its clients see it: connect, call, be told of changes.

The engine is started on demand. If it dies, every waiting call is answered with a clear
error and it is started once more; one that keeps dying is left alone for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

from core import codec
from core.engine import endpoint as endpoints
from core.engine import launch, wire
from core.engine.endpoint import Endpoint
from core.errors import AssistantError, EngineUnavailable
from core.messages import PROTOCOL_VERSION, ConfigureRequest, Event, Phase, PhaseName, Request, Status, Tokens
from core.paths import DataFolders
from core.version import VERSION

T = TypeVar("T")

OnEvent = Callable[[Event], None]
OnState = Callable[[Status], None]

START_TIMEOUT = 60.0
"""Seconds until an engine that does not announce itself counts as failed."""

_POLL = 0.03
_DEATHS_ALLOWED, _DEATHS_WINDOW = 3, 120.0


class EngineClient:
    """One client's connection to the engine; lives on one event loop."""

    def __init__(
        self,
        folders: DataFolders,
        *,
        name: str,
        settings: dict[str, Any],
        on_state: OnState | None = None,
        on_phase: Callable[[Phase], None] | None = None,
        on_lost: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare without connecting; `connect` does both.

        Args:
            folders: Which engine: there is one for each data folder.
            name: What the client is, for the engine's log.
            settings: The body of the section `aiCodegenAssistant`.
            on_state: Told whenever the engine's state has changed.
            on_phase: Told about the start of the engine.
            on_lost: Told in words when the engine has died, after the attempt to start it again.
        """
        self._status: Status | None = None
        self._folders = folders
        self._name = name
        self._settings = settings
        self._on_state = on_state
        self._on_phase = on_phase
        self._on_lost = on_lost
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self._deaths: list[float] = []
        self._restarting: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, folders: DataFolders, **options: Any) -> Self:
        """Connect, starting the engine if there is none; the options are those of the class.

        Raises:
            EngineUnavailable: It could not be started or does not answer.
            StorageFailed: The data folder cannot be used.
        """
        client = cls(folders, **options)
        await client.ready()
        return client

    @property
    def status(self) -> Status | None:
        """The state that the engine announced last; `None` as long as there is no connection."""
        connected = self._connection is not None and not self._connection.closed
        return self._status if connected else None

    async def ready(self) -> None:
        """Return once there is a connection."""
        await self._connected()

    async def call(self, request: Request, kind: type[T], on_event: OnEvent | None = None) -> T:
        """Send a request and return its result as `kind`.

        Cancelling the calling task cancels the work in the engine.

        Args:
            request: One of `core.messages`.
            kind: The result's dataclass.
            on_event: Told about tokens and phases, in order, before this returns.

        Raises:
            AssistantError: The engine's answer, or `EngineUnavailable` when it died.
        """
        return codec.decode(kind, await self.call_raw(request, on_event))

    async def call_raw(self, request: Request, on_event: OnEvent | None = None) -> dict[str, Any]:
        """Do as `call` does, and return the result as JSON values."""
        while True:
            connection = await self._connected()
            try:
                return await connection.call(request.method, codec.encode(request), on_event)
            except _NotServedError:
                # The engine left in order without having begun this request: the next one serves it.
                continue

    async def configure(self, settings: dict[str, Any]) -> None:
        """Use other settings from now on, also with an engine started later."""
        self._settings = settings
        await self.call_raw(ConfigureRequest(settings=settings))

    async def close(self) -> None:
        """Disconnect; the engine drops what this client still waits for."""
        if self._restarting is not None:
            self._restarting.cancel()
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or self._connection.closed:
                self._refuse_if_it_keeps_dying()
                self._connection = await self._open()
            return self._connection

    def _refuse_if_it_keeps_dying(self) -> None:
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < _DEATHS_WINDOW]
        if len(self._deaths) >= _DEATHS_ALLOWED:
            raise EngineUnavailable(
                f"The engine stopped {len(self._deaths)} times within {_DEATHS_WINDOW:.0f} s and is not started again "
                f"for now. Its log is in {self._folders.logs}; `ai-codegen-assistant doctor` looks for the cause."
            )

    async def _open(self) -> _Connection:
        engine: subprocess.Popen[bytes] | None = None
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            announced = await asyncio.to_thread(endpoints.find, self._folders)
            if announced is not None:
                connection = await self._greet(announced)
                if connection is not None:
                    return connection
            if engine is None:
                self._report(Phase(name=PhaseName.STARTING, message="Starting the engine"))
                engine = await asyncio.to_thread(launch.start_engine, self._folders)
            elif engine.poll() not in {None, 0, launch.ALREADY_RUNNING}:
                words = await asyncio.to_thread(launch.last_words, self._folders)
                raise EngineUnavailable(f"The engine ended with status {engine.returncode} while starting.\n{words}")
            elif engine.poll() is not None:
                # Another engine holds the lock: it is about to announce itself, or about to leave.
                engine = None
            if time.monotonic() > deadline:
                raise EngineUnavailable(
                    f"The engine did not answer within {START_TIMEOUT:.0f} s. Its log is in {self._folders.logs}; "
                    "`ai-codegen-assistant stop` ends it."
                )
            await asyncio.sleep(_POLL if engine is not None else 10 * _POLL)

    async def _greet(self, announced: Endpoint) -> _Connection | None:
        """Return a connection, or `None` if that engine is gone or is leaving."""
        try:
            reader, writer = await endpoints.dial(announced)
        except OSError:
            return None
        hello = {
            "protocol": PROTOCOL_VERSION,
            "version": VERSION,
            "token": announced.token,
            "name": self._name,
            "settings": self._settings,
        }
        writer.write(wire.pack({"hello": hello}))
        answer = await wire.read(reader)
        if answer is None:
            writer.close()
            return None
        if "refused" in answer:
            writer.close()
            if answer["refused"].get("data", {}).get("leaving"):
                return None
            raise AssistantError.from_wire(answer["refused"])
        return _Connection(reader, writer, announced.pid, self._on_status, self._on_death)

    def _on_status(self, status: Status) -> None:
        self._status = status
        if self._on_state is not None:
            self._on_state(status)

    def _on_death(self, pid: int) -> None:
        self._deaths.append(time.monotonic())
        self._restarting = asyncio.create_task(self._restart(pid), name="engine-restart")

    async def _restart(self, pid: int) -> None:
        words = f"The engine (process {pid}) stopped unexpectedly"
        try:
            await self._connected()
        except AssistantError as error:
            self._tell(f"{words}, and could not be started again. {error.message}")
        else:
            self._tell(f"{words} and was started again. What was waiting has been answered with an error.")

    def _tell(self, words: str) -> None:
        if self._on_lost is not None:
            self._on_lost(words)

    def _report(self, phase: Phase) -> None:
        if self._on_phase is not None:
            self._on_phase(phase)


class _NotServedError(EngineUnavailable):
    """The engine said goodbye and answered all it had begun; this was not among it."""

    code = "notServed"


class _Connection:
    """An open connection: matches answers to calls."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pid: int,
        on_state: OnState,
        on_death: Callable[[int], None],
    ) -> None:
        self.closed = False
        self._reader = reader
        self._writer = writer
        self._pid = pid
        self._on_state = on_state
        self._on_death = on_death
        self._calls: dict[int, tuple[asyncio.Future[dict[str, Any]], OnEvent | None]] = {}
        self._last_id = 0
        self._listening = asyncio.create_task(self._listen(), name="engine-connection")

    async def call(self, method: str, params: dict[str, Any], on_event: OnEvent | None) -> dict[str, Any]:
        if self.closed:
            raise _NotServedError("The connection to the engine was closed.")
        self._last_id += 1
        call_id = self._last_id
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._calls[call_id] = (answer, on_event)
        try:
            self._writer.write(wire.pack({"id": call_id, "method": method, "params": params}))
            return await answer
        except asyncio.CancelledError:
            if not self.closed:
                self._writer.write(wire.pack({"cancel": call_id}))
            raise
        finally:
            self._calls.pop(call_id, None)

    async def close(self) -> None:
        self.closed = True
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _listen(self) -> None:
        problem: AssistantError | None = None
        try:
            while (message := await wire.read(self._reader)) is not None:
                self._dispatch(message)
        except AssistantError as error:
            problem = error
        finally:
            expected, self.closed = self.closed, True
            unanswered = _NotServedError("The engine was stopped.") if expected else problem or self._death()
            for answer, _ in list(self._calls.values()):
                if not answer.done():
                    answer.set_exception(unanswered)
            self._writer.close()
        if not expected:
            self._on_death(self._pid)

    def _dispatch(self, message: wire.Message) -> None:
        if "state" in message:
            self._on_state(codec.decode(Status, message["state"]))
            return
        if "leaving" in message:
            # An engine that says goodbye has not died.
            self.closed = True
            return
        answer, on_event = self._calls.get(message.get("id", 0), (None, None))
        if answer is None or answer.done():
            return
        if "event" in message:
            if on_event is not None:
                on_event(_decode_event(message["event"]))
        elif "error" in message:
            answer.set_exception(AssistantError.from_wire(message["error"]))
        else:
            answer.set_result(message["result"])

    def _death(self) -> EngineUnavailable:
        return EngineUnavailable(
            f"The engine (process {self._pid}) stopped before it had answered. Nothing that was stored is lost; "
            "it is started again with the next request.",
            died=True,
        )


def _decode_event(event: dict[str, Any]) -> Event:
    if event["kind"] == Tokens.kind:
        return codec.decode(Tokens, event)
    return codec.decode(Phase, event)
