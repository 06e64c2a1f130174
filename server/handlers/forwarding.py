"""Requests that go to the engine as they are."""

from __future__ import annotations

from typing import Any, TypeVar

from core.messages import Request
from server.server import AssistantServer
from server.work import Work

R = TypeVar("R", bound=Request)


def forward(server: AssistantServer, kind: type[R], title: str) -> None:
    """Answer `assistant/<method>` with the engine's result; the params are the engine's own request."""

    async def handler(_: AssistantServer, request: R, work: Work) -> dict[str, Any]:
        return await work.call_raw(request)

    server.request(f"assistant/{kind.method}", title, kind, handler)
