"""The retrieval thread: the one thread that touches the embedder, the router and the knowledge.

It never waits for a language model, so that a query is routed and looked up while another is
being answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from core.cancellation import CancelToken
from core.errors import AssistantError, EngineBusy, EngineUnavailable, ModelMissing
from core.knowledge.base import KnowledgeBase
from core.knowledge.embedder import Embedder, SentenceEmbedder
from core.messages import KnowledgeInfo, Origin, Phase, PhaseName, Role
from core.models.interface import OnPhase
from core.models.registry import ModelRegistry
from core.paths import DataFolders
from core.routing.classifier import load_classifier
from core.routing.router import Router
from core.routing.routes import load_routes
from core.settings import Settings

T = TypeVar("T")

OWN_ROUTES = "routes.toml"
"""A person's own utterances for the router, in the data folder."""
CLASSIFIER = "routes.npz"
"""What all utterances come to, in the folder of what can be computed again."""

MAX_WAITING = 256
"""Jobs that may wait; retrieval takes milliseconds, so that more means something is wrong."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """What retrieval works with, valid on the retrieval thread only."""

    model: str
    embedder: Embedder
    router: Router
    knowledge: KnowledgeBase


class Retrieval:
    """Runs work on the retrieval thread; opens the embedder and the knowledge on first use."""

    def __init__(self, folders: DataFolders, registry: ModelRegistry, on_change: Callable[[], None]) -> None:
        """Start the thread; `on_change` is called from it whenever `info` has changed."""
        self._folders = folders
        self._registry = registry
        self._on_change = on_change
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="retrieval")
        self._long = ThreadPoolExecutor(1, thread_name_prefix="import")
        self._waiting = 0
        self._shelf: Shelf | None = None
        self._problem: str | None = None
        self._filling = False

    async def run(self, settings: Settings, token: CancelToken, on_phase: OnPhase, work: Callable[[Shelf], T]) -> T:
        """Run `work` on the retrieval thread and return what it returns.

        Raises:
            ModelMissing: The embedder is not installed.
            EngineBusy: Too much is waiting.
            Cancelled: The token was set before the work began.
        """

        def job() -> T:
            token.raise_if_cancelled()
            return work(self._open(settings, on_phase))

        return await self._submit(job)

    async def run_long(
        self, settings: Settings, token: CancelToken, on_phase: OnPhase, work: Callable[[Shelf], T]
    ) -> T:
        """Run work of many seconds beside the retrieval thread, so that queries go on.

        Only for what the knowledge allows from several threads: import and export.
        """
        shelf = await self.run(settings, token, on_phase, lambda shelf: shelf)
        return await asyncio.wrap_future(self._long.submit(work, shelf))

    def builtin_source(self, settings: Settings) -> str:
        """Return the file of HumanEval that the chosen model set has brought.

        Raises:
            ModelMissing: It is not installed.
        """
        file = self._registry.knowledge_file(settings)
        if file is None:
            command = f"ai-codegen-assistant models pull {settings.model_set}"
            raise ModelMissing(f"HumanEval is not installed. Install it with: {command}", command=command)
        return str(file)

    def info(self) -> KnowledgeInfo:
        """Return how the knowledge stands; callable from any thread."""
        shelf, problem = self._shelf, self._problem
        if shelf is not None:
            info = shelf.knowledge.info()
            return replace(info, state="starting", detail="reading HumanEval") if self._filling else info
        state = "starting" if problem is None else "failed"
        return KnowledgeInfo(path=str(self._folders.knowledge), state=state, detail=problem)

    def embedding_model(self) -> str | None:
        """Return the embedding model that is loaded; callable from any thread."""
        shelf = self._shelf
        return None if shelf is None else shelf.model

    def close(self) -> None:
        """Finish the running job, drop the waiting ones and close the store."""
        self._long.shutdown(wait=True, cancel_futures=True)
        self._executor.shutdown(wait=True, cancel_futures=True)
        if self._shelf is not None:
            self._shelf.knowledge.close()
            self._shelf = None

    async def _submit(self, job: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise EngineBusy(f"{self._waiting} look-ups are waiting already; try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._executor.submit(job))
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise EngineUnavailable("The engine is shutting down; ask again in a moment.") from None
            raise
        finally:
            self._waiting -= 1

    def _open(self, settings: Settings, on_phase: OnPhase) -> Shelf:
        model = self._registry.resolve(settings, Role.EMBED)
        if self._shelf is not None and self._shelf.model == model:
            return self._shelf
        self._filling = True
        try:
            shelf = self._replace_shelf(model, on_phase)
            builtin = self._registry.knowledge_file(settings)
            if builtin is not None:
                # Not with the request's token: a person who cancels a question still wants HumanEval.
                shelf.knowledge.import_tasks(str(builtin), Origin.BUILTIN, on_phase, CancelToken())
        except AssistantError as error:
            self._problem = error.message
            raise
        else:
            self._problem = None
        finally:
            self._filling = False
            self._on_change()
        return shelf

    def _replace_shelf(self, model: str, on_phase: OnPhase) -> Shelf:
        folder = self._registry.locate(model)
        on_phase(Phase(name=PhaseName.LOADING, message=f"Loading the embedding model {folder.name}"))
        embedder = SentenceEmbedder(folder)
        if self._shelf is not None:
            if self._shelf.embedder.fingerprint == embedder.fingerprint:
                self._shelf = Shelf(model, embedder, self._shelf.router, self._shelf.knowledge)
                return self._shelf
            self._shelf.knowledge.close()
            self._shelf = None
        on_phase(
            Phase(name=PhaseName.LOADING, message="Reading what people say on each route: seconds, the first time")
        )
        routes = load_routes(self._folders.root / OWN_ROUTES)
        router = Router(load_classifier(embedder, routes, self._folders.cache / CLASSIFIER))
        knowledge = KnowledgeBase.open(self._folders.knowledge, embedder, self._on_change)
        self._shelf = Shelf(model, embedder, router, knowledge)
        return self._shelf
