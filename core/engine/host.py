"""The engine process: accepts clients, runs their requests, tells them of changes.

The loop thread owns all state here. Retrieval and language models have a thread each, and the
lock on the data folder makes this the only engine that touches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import signal
import time
from pathlib import Path

import filelock

from core.assistant import Assistant
from core.cancellation import CancelToken
from core.conversation.explainer import Explainer
from core.conversation.history import History
from core.engine import endpoint as endpoints
from core.engine.dispatch import Dispatcher
from core.engine.endpoint import private_folder
from core.engine.launch import ALREADY_RUNNING
from core.engine.model_service import ModelService
from core.engine.retrieval import Retrieval
from core.engine.session import Greeting, Session
from core.engine.status import StatusReport
from core.errors import AssistantError
from core.generation.generator import Generator
from core.models.installer import Installer
from core.models.registry import ModelRegistry
from core.models.worker import ModelWorker
from core.paths import DataFolders
from core.settings import Settings
from core.version import VERSION

log = logging.getLogger(__name__)

ANNOUNCE_EVERY = 0.2
"""Seconds between two announcements of the state, however often it changes."""

STATUS_EVERY = 5.0
"""Seconds after which the state is announced even if nothing has changed: memory, uptime."""

CLOSE_TIMEOUT = 3.0
"""Seconds the two threads get to finish; what must last is on the disk already."""


class Engine:
    """All parts of a running engine, put together."""

    def __init__(self, folders: DataFolders) -> None:
        """Build the parts; call on the loop thread."""
        self._loop = asyncio.get_running_loop()
        self._folders = folders
        self._sessions: set[Session] = set()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._last_use = time.monotonic()
        self._idle_limit = Settings().engine_idle
        self._token = ""
        registry = ModelRegistry(folders)
        self._retrieval = Retrieval(folders, registry, self._on_change)
        self._models = ModelWorker(registry, self._on_change, on_lost=self._on_lost)
        service = ModelService(registry, Installer(registry), self._models, self._retrieval)
        self._report = StatusReport(service, self._models, self._retrieval)
        history = History(folders.conversations)
        assistant = Assistant(
            self._retrieval,
            Explainer(registry, self._models, history),
            Generator(registry, self._models),
            history,
        )
        self._dispatcher = Dispatcher(assistant, service, self._report, self._stopping.set)

    async def serve(self) -> None:
        """Serve clients until told to stop, or until nobody has needed it for long enough."""
        server, endpoint = await endpoints.listen(self._folders, VERSION, self._accept)
        self._token = endpoint.token
        log.info("listening, process %d, version %s", endpoint.pid, endpoint.version)
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows
                self._loop.add_signal_handler(number, self._stopping.set)
        tasks = [asyncio.create_task(self._announce()), asyncio.create_task(self._leave_when_idle())]
        try:
            await self._stopping.wait()
        finally:
            log.info("leaving")
            endpoints.withdraw(self._folders)
            server.close()
            for task in tasks:
                task.cancel()
            for session in list(self._sessions):
                await session.dismiss()
            threads = asyncio.gather(asyncio.to_thread(self._models.close), asyncio.to_thread(self._retrieval.close))
            await asyncio.wait([threads], timeout=CLOSE_TIMEOUT)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(reader, writer, self._dispatcher)
        greeting = await session.greet(self._token, alone=lambda: not self._sessions)
        if greeting is Greeting.SUPERSEDED:
            self._stopping.set()
        if greeting is not Greeting.WELCOME:
            return
        self._sessions.add(session)
        log.info("client %s, %d in all", session.name, len(self._sessions))
        warming = asyncio.create_task(self._warm_up(session))
        self._on_change()
        try:
            await session.run()
        finally:
            warming.cancel()
            self._sessions.discard(session)
            self._last_use, self._idle_limit = time.monotonic(), session.settings.engine_idle
            log.info("client %s left, %d remain", session.name, len(self._sessions))
            await session.end()

    async def _warm_up(self, session: Session) -> None:
        """Open the embedder and the knowledge before the first question needs them."""
        with contextlib.suppress(AssistantError):  # the request that needs them reports it
            await self._retrieval.run(session.settings, CancelToken(), lambda _: None, lambda _: None)

    def _on_change(self) -> None:
        """Note that something changed; callable from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._changed.set)

    def _on_lost(self) -> None:
        """Leave, so that the next request starts an engine to which the device is new; callable from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def _announce(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), STATUS_EVERY)
            self._changed.clear()
            self._tell_everybody()
            await asyncio.sleep(ANNOUNCE_EVERY)

    def _tell_everybody(self) -> None:
        for session in list(self._sessions):
            session.send_state(self._report.status(session.settings, clients=len(self._sessions)))

    async def _leave_when_idle(self) -> None:
        """Leave once no client has been here for as long as the last one's settings say."""
        while True:
            await asyncio.sleep(1.0)
            if not self._sessions and time.monotonic() - self._last_use > self._idle_limit:
                break
        log.info("nobody has needed the engine for %.0f s", self._idle_limit)
        self._stopping.set()


def main(folders: DataFolders) -> int:
    """Run the engine in this process until it leaves; return the exit status."""
    private_folder(folders.run)
    _log_to(private_folder(folders.logs) / "engine.log")
    try:
        with filelock.FileLock(folders.run / "engine.lock", timeout=0):
            asyncio.run(_serve(folders))
    except filelock.Timeout:
        return ALREADY_RUNNING
    return 0


async def _serve(folders: DataFolders) -> None:
    await Engine(folders).serve()
    logging.shutdown()
    # Not by returning: that would wait for threads, and one may be in a library that cannot be interrupted.
    os._exit(0)


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=1_000_000, backupCount=2, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
