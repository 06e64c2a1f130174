"""The blocking client against an asynchronous one that is scripted."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import engine as module
from cli.engine import BlockingClient
from core.errors import EngineUnavailable, NotFound
from core.messages import Event, Phase, PhaseName, Request, StatusRequest, Tokens
from core.paths import DataFolders


class ScriptedClient:
    """Implements what the blocking client uses of `EngineClient`."""

    seen: list[str]
    fails: bool = False

    def __init__(self, folders: DataFolders, *, on_phase: Callable[[Phase], None], **_: Any) -> None:
        self.on_phase = on_phase

    async def ready(self) -> None:
        self.on_phase(Phase(name=PhaseName.STARTING, message="Starting"))
        if self.fails:
            raise EngineUnavailable("It died.")

    async def call_raw(self, request: Request, on_event: Callable[[Event], None]) -> dict[str, Any]:
        if isinstance(request, StatusRequest):
            on_event(Tokens(text="a"))
            return {"thread": threading.current_thread().name}
        try:
            self.seen.append("running")
            # The person presses Ctrl-C when the main thread has begun to wait.
            await asyncio.sleep(0.1)
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise
        raise NotFound("never reached")

    async def close(self) -> None:
        self.seen.append("closed")


@pytest.fixture
def client_type(monkeypatch: pytest.MonkeyPatch) -> type[ScriptedClient]:
    class Client(ScriptedClient):
        seen: list[str] = []  # noqa: RUF012 - one list for each test

    monkeypatch.setattr(module, "EngineClient", Client)
    return Client


def test_calls_run_on_a_loop_of_their_own(client_type: type[ScriptedClient], tmp_path: Path) -> None:
    events: list[Event] = []
    client = BlockingClient.connect(DataFolders(tmp_path), {}, events.append)
    assert client.call(StatusRequest(), events.append) == {"thread": "engine-client"}
    client.close()
    assert events == [Phase(name=PhaseName.STARTING, message="Starting"), Tokens(text="a")]
    assert client_type.seen == ["closed"]


def test_ctrl_c_cancels_the_work_before_it_disconnects(client_type: type[ScriptedClient], tmp_path: Path) -> None:
    client = BlockingClient.connect(DataFolders(tmp_path), {}, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        client.call(object(), lambda _: None)  # type: ignore[arg-type]
    client.close()
    assert client_type.seen == ["running", "cancelled", "closed"]


def test_an_engine_that_does_not_start_leaves_no_thread(client_type: type[ScriptedClient], tmp_path: Path) -> None:
    client_type.fails = True
    with pytest.raises(EngineUnavailable):
        BlockingClient.connect(DataFolders(tmp_path), {}, lambda _: None)
    assert "engine-client" not in {thread.name for thread in threading.enumerate()}
