"""A language server with a scripted engine and an editor in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fakes.memory_editor import MemoryEditor
from fakes.scripted_engine import ScriptedEngine

from server.app import create_server


@pytest.fixture
async def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def editor(engine: ScriptedEngine) -> AsyncIterator[MemoryEditor]:
    server = create_server(engine.connect)
    yield MemoryEditor(server)
    await server.close()
