"""Real language servers over stdio, on the real engine with the real starter models."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from rawlsp import RawClient, serving

from core.engine import endpoint as endpoints
from core.paths import DataFolders


def end_engine(home: Path) -> None:
    """Kill the engine of a data folder, if it runs."""
    endpoint = endpoints.find(DataFolders(home))
    if endpoint is not None and psutil.pid_exists(endpoint.pid):
        os.kill(endpoint.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def engine_home(starter_home: Path) -> Iterator[Path]:
    """A data folder whose engine stays up for all tests of the session."""
    yield starter_home
    end_engine(starter_home)


@pytest.fixture
async def client(engine_home: Path) -> AsyncIterator[RawClient]:
    """A client of a new language server, initialized as a plain editor."""
    async with serving(engine_home) as raw:
        await raw.initialize(initializationOptions={"explainMaxTokens": 24, "generateMaxTokens": 48})
        yield raw


@pytest.fixture
def own_home(fresh_home: Path) -> Iterator[Path]:
    """A data folder for one test, whose engine ends with it."""
    yield fresh_home
    end_engine(fresh_home)
