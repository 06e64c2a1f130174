"""How things stand, put together for clients."""

from __future__ import annotations

import os
import time

from core.engine.model_service import ModelService
from core.engine.retrieval import Retrieval
from core.messages import EngineInfo, Status
from core.models.worker import ModelWorker
from core.settings import Settings
from core.version import VERSION


class StatusReport:
    """Describes the engine; made when the engine starts."""

    def __init__(self, service: ModelService, worker: ModelWorker, retrieval: Retrieval) -> None:
        self._service = service
        self._worker = worker
        self._retrieval = retrieval
        self._started = time.monotonic()

    def status(self, settings: Settings, *, clients: int = 1) -> Status:
        """Return the state as a client with these settings sees it."""
        snapshot = self._worker.snapshot()
        return Status(
            engine=EngineInfo(
                pid=os.getpid(), uptime=round(time.monotonic() - self._started, 1), version=VERSION, clients=clients
            ),
            models=self._service.infos(settings),
            queue=snapshot.queue,
            knowledge=self._retrieval.info(),
            memory=snapshot.memory,
        )
