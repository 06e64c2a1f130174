"""The server's connection to the engine: made in the background, waited for by requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

from core.errors import AssistantError
from core.messages import EngineInfo, Event, KnowledgeInfo, MemoryInfo, Phase, QueueInfo, Request, Status
from core.version import VERSION

OnPhase = Callable[[Phase], None]


class Engine(Protocol):
    """What the server needs of `core.engine.client.EngineClient`."""

    @property
    def status(self) -> Status | None:
        """The state that the engine announced last."""
        ...

    async def call_raw(self, request: Request, on_event: Callable[[Event], None] | None = None) -> dict[str, Any]:
        """Send a request and return its result as JSON values."""
        ...

    async def configure(self, settings: dict[str, Any]) -> None:
        """Use other settings from now on."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


Connect = Callable[..., Awaitable[Engine]]
"""`EngineClient.connect` for one data folder; takes its keyword options."""


class EngineLink:
    """Opens the connection once, shares it, and tries again after a failure.

    Args:
        connect: Opens a connection.
        load_settings: Returns what the person has set; awaited before the connection is opened.
        on_change: Called when the engine's state has changed.
        on_trouble: Told in words when the engine has died, or does not take the settings.
    """

    def __init__(
        self,
        connect: Connect,
        load_settings: Callable[[], Awaitable[dict[str, Any]]],
        on_change: Callable[[], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._connect = connect
        self._load_settings = load_settings
        self._on_change = on_change
        self._on_trouble = on_trouble
        self._opening: asyncio.Task[Engine] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._watchers: list[OnPhase] = []
        self._problem: str | None = None

    def status(self) -> Status:
        """Return the state the engine announced last, or that there is none; never waits."""
        engine = self._engine()
        announced = None if engine is None else engine.status
        if announced is not None:
            return announced
        state = "starting" if self._problem is None else "stopped"
        return Status(
            engine=EngineInfo(pid=0, uptime=0.0, version=VERSION, clients=0, state=state, detail=self._problem),
            models=[],
            queue=QueueInfo(),
            knowledge=KnowledgeInfo(state="starting"),
            memory=MemoryInfo(process=0),
        )

    @contextlib.contextmanager
    def watched(self, on_phase: OnPhase) -> Iterator[None]:
        """Report the phases of every start of the engine while this is entered."""
        self._watchers.append(on_phase)
        try:
            yield
        finally:
            self._watchers.remove(on_phase)

    async def ready(self) -> Engine:
        """Return the engine once it can be used.

        Raises:
            AssistantError: It could not be started; the next call tries again.
        """
        # Shielded: others wait for the same connection.
        engine = await asyncio.shield(self._open())
        if self._reloading is not None:
            await asyncio.wait([self._reloading])
        return engine

    def reload_settings(self) -> None:
        """Use the settings as they are now; requests that come later wait until that is done."""
        if self._opening is not None:
            self._reloading = asyncio.create_task(self._reload(self._opening), name="reload-settings")

    async def close(self) -> None:
        """Disconnect, or stop connecting."""
        tasks = [task for task in (self._opening, self._reloading) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        engine = self._engine()
        if engine is not None:
            await engine.close()

    def _open(self) -> asyncio.Task[Engine]:
        """Start to connect unless that has happened already."""
        if self._opening is None or _has_failed(self._opening):
            self._problem = None
            self._opening = asyncio.create_task(self._connected(), name="connect-to-engine")
        return self._opening

    async def _connected(self) -> Engine:
        try:
            return await self._connect(
                name="language server",
                settings=await self._load_settings(),
                on_state=lambda _: self._on_change(),
                on_phase=self._report,
                on_lost=self._lost,
            )
        except AssistantError as error:
            self._problem = error.message
            self._on_change()
            raise

    async def _reload(self, opening: asyncio.Task[Engine]) -> None:
        try:
            engine = await asyncio.shield(opening)
            await engine.configure(await self._load_settings())
        except AssistantError as error:
            self._on_trouble(error.message)

    def _engine(self) -> Engine | None:
        if self._opening is None or not self._opening.done() or _has_failed(self._opening):
            return None
        return self._opening.result()

    def _report(self, phase: Phase) -> None:
        for watcher in list(self._watchers):
            watcher(phase)

    def _lost(self, words: str) -> None:
        self._problem = words
        self._on_trouble(words)
        self._on_change()


def _has_failed(task: asyncio.Task[Engine]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
