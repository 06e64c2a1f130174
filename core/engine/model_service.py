"""Listing, loading, unloading, installing and removing models, as clients ask for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from core.context import RequestContext
from core.engine.retrieval import Retrieval
from core.errors import InvalidParams
from core.messages import Action, ModelInfo, Models, ModelsRequest, ModelState, Role
from core.models.installer import Installer
from core.models.interface import ModelJob
from core.models.registry import ModelRegistry
from core.models.worker import ModelWorker
from core.settings import Settings


class ModelService:
    """Performs the actions of the request `models`."""

    def __init__(
        self, registry: ModelRegistry, installer: Installer, worker: ModelWorker, retrieval: Retrieval
    ) -> None:
        self._registry = registry
        self._installer = installer
        self._worker = worker
        self._retrieval = retrieval

    async def perform(self, request: ModelsRequest, context: RequestContext) -> Models:
        """Do what is asked for, and return how the models stand afterwards."""
        match request.action:
            case Action.LOAD:
                await self._load(request.role or Role.GENERATE, context)
            case Action.UNLOAD:
                await asyncio.wrap_future(self._worker.unload(request.role))
            case Action.PULL:
                name = _set_of(request)
                await asyncio.to_thread(self._installer.pull, name, context.emit, context.token)
            case Action.REMOVE:
                await asyncio.to_thread(self._installer.remove, _set_of(request))
            case Action.LIST:
                pass
        return Models(models=self.infos(context.settings), sets=await asyncio.to_thread(self._registry.sets))

    def infos(self, settings: Settings) -> list[ModelInfo]:
        """Return each role's model as this client's settings name it, with its live state.

        A model that serves several roles is loaded once, for whichever needs it first.
        """
        live = {info.name: info for info in self._worker.snapshot().models}
        embedder = self._retrieval.embedding_model()
        if embedder is not None:
            live[embedder] = ModelInfo(
                role=Role.EMBED, name=embedder, state=ModelState.READY, device="cpu", dtype="float32"
            )
        return [replace(live.get(info.name, info), role=info.role) for info in self._registry.models(settings)]

    async def _load(self, role: Role, context: RequestContext) -> None:
        if role is Role.EMBED:
            raise InvalidParams("role", "must be 'explain' or 'generate': the embedding model is always loaded")
        settings = context.settings
        job: ModelJob[None] = ModelJob(
            role=role,
            model=self._registry.resolve(settings, role),
            device=settings.device,
            precision=settings.precision,
            token=context.token,
            on_phase=context.emit,
            run=lambda _, __: None,
            keep_alive=settings.keep_alive,
            method="load",
        )
        await asyncio.wrap_future(self._worker.load(job))


def _set_of(request: ModelsRequest) -> str:
    if not request.set:
        raise InvalidParams("set", f"is required for {request.action.value!r}, for example 'starter'")
    return request.set
