"""An engine that does what a test has written down, behind the interface the server uses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from core.errors import AssistantError
from core.messages import EngineInfo, Event, KnowledgeInfo, MemoryInfo, QueueInfo, Request, Status

OnEvent = Callable[[Event], None]
Script = Callable[[Request, OnEvent], Awaitable[dict[str, Any]]]

RUNNING = Status(
    engine=EngineInfo(pid=7, uptime=1.5, version="1"),
    models=[],
    queue=QueueInfo(),
    knowledge=KnowledgeInfo(count=3, path="/data"),
    memory=MemoryInfo(process=1),
)


class ScriptedEngine:
    """Answers each method with its script; remembers what was asked and what was cancelled."""

    def __init__(self) -> None:
        self.status: Status | None = RUNNING
        self.scripts: dict[str, Script] = {}
        self.requests: list[Request] = []
        self.cancelled: list[Request] = []
        self.settings: list[dict[str, Any]] = []
        self.options: dict[str, Any] = {}
        self.closed = False
        self.connecting = asyncio.Event()
        """Set once the server tries to connect."""
        self.opening = asyncio.Event()
        """While cleared, the connection does not come about."""
        self.opening.set()
        self.failures: list[AssistantError] = []
        """Raised by the next attempts to connect."""

    async def connect(self, **options: Any) -> ScriptedEngine:
        self.options = options
        self.connecting.set()
        self.settings.append(options["settings"])
        await self.opening.wait()
        if self.failures:
            raise self.failures.pop(0)
        return self

    def answer(self, method: str, result: dict[str, Any] | AssistantError, *events: Event) -> None:
        """Script `method`: these events, then this result."""

        async def script(_: Request, on_event: OnEvent) -> dict[str, Any]:
            for event in events:
                on_event(event)
            if isinstance(result, AssistantError):
                raise result
            return result

        self.scripts[method] = script

    def hold(self, method: str, *events: Event) -> asyncio.Event:
        """Script `method`: these events, then nothing until the returned event is set."""
        go_on = asyncio.Event()

        async def script(_: Request, on_event: OnEvent) -> dict[str, Any]:
            for event in events:
                on_event(event)
            await go_on.wait()
            return {"status": "answered"}

        self.scripts[method] = script
        return go_on

    async def call_raw(self, request: Request, on_event: OnEvent | None = None) -> dict[str, Any]:
        self.requests.append(request)
        try:
            return await self.scripts[request.method](request, on_event or (lambda _: None))
        except asyncio.CancelledError:
            self.cancelled.append(request)
            raise

    async def configure(self, settings: dict[str, Any]) -> None:
        self.settings.append(settings)

    async def close(self) -> None:
        self.closed = True
