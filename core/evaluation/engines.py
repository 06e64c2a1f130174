"""The assistant under evaluation: a real engine, asked what an editor would ask it.

Evaluations are clients like any other, so that they measure the product and no copy of it, and
load nothing heavy themselves. What needs knowledge of its own gets an engine in a throw-away
data folder; what is about the person's own knowledge asks the person's own engine, since a
store has exactly one owner.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil

from core.engine.client import EngineClient
from core.engine.temporary_home import make_temporary_home, remove_temporary_home
from core.errors import AssistantError
from core.messages import Done, ShutdownRequest
from core.paths import DataFolders

_NAME = "evaluation"
_IDLE = 60.0
"""Seconds after which an engine leaves whose evaluation was killed."""
_STOP_TIMEOUT = 20.0


@asynccontextmanager
async def own_engine(folders: DataFolders, settings: dict[str, Any]) -> AsyncIterator[EngineClient]:
    """Connect to the engine of `folders`, with its knowledge as it is."""
    client = await EngineClient.connect(folders, name=_NAME, settings=settings)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def throw_away_engine(folders: DataFolders, settings: dict[str, Any]) -> AsyncIterator[EngineClient]:
    """Start an engine that knows the built-in tasks only, and forgets all at the end."""
    home = await asyncio.to_thread(make_temporary_home, folders, "eval")
    client = EngineClient(home, name=_NAME, settings=settings | {"engineIdle": _IDLE})
    try:
        await client.ready()
        yield client
    finally:
        await end_engine(client)
        await client.close()
        await asyncio.to_thread(remove_temporary_home, home)


async def end_engine(client: EngineClient) -> None:
    """Stop the engine in order and wait until it has gone; the next call starts another one."""
    if client.status is None:
        return
    pid = client.status.engine.pid
    with contextlib.suppress(AssistantError):
        await client.call(ShutdownRequest(), Done)
    await asyncio.to_thread(_wait_for_end, pid)


def _wait_for_end(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        try:
            process.wait(_STOP_TIMEOUT)
        except psutil.TimeoutExpired:
            process.kill()
