"""The assistant: route → explain | generate, and everything about tasks and conversations.

The facade over routing, knowledge, conversation, generation and models. It runs on the
engine's loop thread; retrieval and language models have threads of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from core.context import RequestContext
from core.conversation.explainer import Explainer
from core.conversation.history import History
from core.engine.retrieval import Retrieval, Shelf
from core.errors import StorageFailed
from core.generation import grounding
from core.generation.generator import Generator
from core.generation.grounding import Grounding
from core.knowledge.base import draft
from core.knowledge.embedder import Vectors
from core.knowledge.verification import verify
from core.messages import (
    AskRequest,
    ChooseRouteRequest,
    Conversation,
    ConversationList,
    ConversationRequest,
    ConversationsRequest,
    Done,
    ExplainRequest,
    Explanation,
    Exported,
    ExportTasksRequest,
    ForgetConversationRequest,
    ForgetRequest,
    GenerateRequest,
    Generation,
    Imported,
    ImportTasksRequest,
    Intent,
    JudgeRequest,
    LookUp,
    LookUpRequest,
    Origin,
    RestoreTaskRequest,
    RouteChoice,
    TaskDetails,
    TaskList,
    TaskRequest,
    TasksRequest,
    Taught,
    TeachRequest,
    Timings,
    UpdateTaskRequest,
)
from core.text import CODE_LIMIT, QUERY_LIMIT, check_text

HUMANEVAL = "humaneval"
"""Names the built-in tasks as a source of an import."""

T = TypeVar("T")
R = TypeVar("R", Explanation, Generation)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at a query on the retrieval thread has found."""

    route: RouteChoice
    route_ms: float
    found: Grounding
    retrieve_ms: float


class Assistant:
    """Answers requests; every method may raise any `AssistantError`."""

    def __init__(self, retrieval: Retrieval, explainer: Explainer, generator: Generator, history: History) -> None:
        self._retrieval = retrieval
        self._explainer = explainer
        self._generator = generator
        self._history = history

    # --- answering ------------------------------------------------------------------------

    async def ask(self, request: AskRequest, context: RequestContext) -> Explanation | Generation:
        """Route a query by its embedding, and let that embedding find the solved tasks too."""
        check_text("query", request.query, QUERY_LIMIT)
        reading = await self._retrieve(context, lambda shelf: _read(shelf, request, context))
        if reading.route.intent is Intent.GENERATE:
            wanted = GenerateRequest(prompt=request.query, language=request.language, force=request.force)
            generation = await self._generator.generate(wanted, reading.found, context)
            return _timed(replace(generation, route=reading.route), reading)
        question = ExplainRequest(
            selection=request.selection, question=request.query, conversation_id=request.conversation_id
        )
        return _timed(replace(await self.explain(question, context), route=reading.route), reading)

    async def look_up(self, request: LookUpRequest, context: RequestContext) -> LookUp:
        """Route a query and look for solved tasks as `ask` does, without answering it."""
        check_text("query", request.query, QUERY_LIMIT)
        asked = AskRequest(query=request.query, selection=request.selection, language=request.language)
        reading = await self._retrieve(context, lambda shelf: _read(shelf, asked, context))
        return LookUp(
            route=reading.route,
            band=reading.found.band,
            threshold=reading.found.threshold,
            matches=[match.to_message() for match in reading.found.closest],
            timings=Timings(route=reading.route_ms, retrieve=reading.retrieve_ms, total=context.elapsed()),
        )

    async def explain(self, request: ExplainRequest, context: RequestContext) -> Explanation:
        """Explain code, or go on talking about it."""
        if request.question is not None:
            check_text("question", request.question, QUERY_LIMIT)
        if request.selection is not None:
            check_text("selection", request.selection.text, CODE_LIMIT)
        return await self._explainer.explain(request, context)

    async def generate(self, request: GenerateRequest, context: RequestContext) -> Generation:
        """Turn a description into code, or say that it is unknown."""
        check_text("prompt", request.prompt, QUERY_LIMIT)
        started = time.perf_counter()
        found = await self._retrieve(context, lambda shelf: _look_up(shelf, request.prompt, request.language, context))
        retrieve_ms = (time.perf_counter() - started) * 1000
        generation = await self._generator.generate(request, found, context)
        return replace(generation, timings=replace(generation.timings, retrieve=retrieve_ms))

    # --- tasks ----------------------------------------------------------------------------

    async def teach(self, request: TeachRequest, context: RequestContext) -> Taught:
        """Store a solved task: durable, and found by the very next request."""
        check_text("description", request.description, QUERY_LIMIT)
        verdict = await asyncio.to_thread(verify, draft(request), context.token)

        def work(shelf: Shelf) -> Taught:
            return shelf.knowledge.teach(request, verified=verdict.verified)

        return replace(await self._retrieve(context, work), note=verdict.note)

    async def tasks(self, request: TasksRequest, context: RequestContext) -> TaskList:
        """List tasks, or search them by meaning."""

        def work(shelf: Shelf) -> TaskList:
            vector = shelf.embedder.embed([request.query])[0] if request.query else None
            return shelf.knowledge.tasks(request, vector)

        return await self._retrieve(context, work)

    async def task(self, request: TaskRequest, context: RequestContext) -> TaskDetails:
        """Show one task."""
        return await self._retrieve(context, lambda shelf: shelf.knowledge.get(request.task_id))

    async def update_task(self, request: UpdateTaskRequest, context: RequestContext) -> TaskDetails:
        """Change a task."""
        if request.implementation is None and request.tests is None:
            return await self._retrieve(context, lambda shelf: shelf.knowledge.update(request))
        revised = await self._retrieve(context, lambda shelf: shelf.knowledge.revised(request))
        verdict = await asyncio.to_thread(verify, revised, context.token)
        passed = revised if verdict.verified else None
        details = await self._retrieve(context, lambda shelf: shelf.knowledge.update(request, passed=passed))
        return replace(details, note=verdict.note)

    async def forget(self, request: ForgetRequest, context: RequestContext) -> TaskDetails:
        """Delete a task."""
        return await self._retrieve(context, lambda shelf: shelf.knowledge.forget(request.task_id))

    async def restore_task(self, request: RestoreTaskRequest, context: RequestContext) -> TaskDetails:
        """Bring a deleted task back."""
        return await self._retrieve(context, lambda shelf: shelf.knowledge.restore(request.task_id))

    async def judge(self, request: JudgeRequest, context: RequestContext) -> Done:
        """Keep what has become of an answer, or take that back."""
        check_text("query", request.query, QUERY_LIMIT)

        def work(shelf: Shelf) -> Done:
            if request.outcome is None:
                shelf.knowledge.take_back(request.query, request.task_id)
                return Done(message="The judgement is taken back.")
            vector = shelf.embedder.embed([request.query])[0]
            shelf.knowledge.judge(request.query, vector, request.task_id, request.outcome)
            return Done(message=f"{request.task_id} is {request.outcome.value} for such queries.")

        return await self._retrieve(context, work)

    async def choose_route(self, request: ChooseRouteRequest, context: RequestContext) -> Done:
        """Keep which intent a query has, or take that back."""
        check_text("query", request.query, QUERY_LIMIT)

        def work(shelf: Shelf) -> Done:
            if request.intent is None:
                shelf.knowledge.withdraw(request.query)
                return Done(message="The choice is taken back.")
            shelf.knowledge.overrule(request.query, shelf.embedder.embed([request.query])[0], request.intent)
            return Done(message=f"Such queries are taken as {request.intent.value} from now on.")

        return await self._retrieve(context, work)

    async def import_tasks(self, request: ImportTasksRequest, context: RequestContext) -> Imported:
        """Read solved tasks from a source."""
        source, origin = request.source, Origin.IMPORTED
        if source == HUMANEVAL:
            source, origin = self._retrieval.builtin_source(context.settings), Origin.BUILTIN

        def work(shelf: Shelf) -> Imported:
            return shelf.knowledge.import_tasks(source, origin, context.emit, context.token)

        return await self._retrieval.run_long(context.settings, context.token, context.emit, work)

    async def export_tasks(self, request: ExportTasksRequest, context: RequestContext) -> Exported:
        """Write solved tasks to a file."""

        def work(shelf: Shelf) -> Exported:
            return shelf.knowledge.export_tasks(Path(request.path), request.origin)

        return await self._retrieval.run_long(context.settings, context.token, context.emit, work)

    # --- conversations --------------------------------------------------------------------

    async def conversations(self, request: ConversationsRequest, _: RequestContext) -> ConversationList:
        """List past conversations."""
        return await asyncio.to_thread(self._history.list, request.limit)

    async def conversation(self, request: ConversationRequest, _: RequestContext) -> Conversation:
        """Show one conversation."""
        return await asyncio.to_thread(self._history.show, request.conversation_id)

    async def forget_conversation(self, request: ForgetConversationRequest, _: RequestContext) -> Done:
        """Delete one conversation for good."""
        await asyncio.to_thread(self._history.forget, request.conversation_id)
        return Done(message="The conversation is deleted.")

    async def _retrieve(self, context: RequestContext, work: Callable[[Shelf], T]) -> T:
        return await self._retrieval.run(context.settings, context.token, context.emit, work)


def _read(shelf: Shelf, request: AskRequest, context: RequestContext) -> Reading:
    """Embed the query once; route it and look it up with what that gives."""
    started = time.perf_counter()
    meaning, wording = (one[0] for one in shelf.embedder.read([request.query]))
    has_selection, feedback = request.selection is not None, shelf.knowledge.feedback
    route = shelf.router.route(request.query, meaning, wording, has_selection=has_selection, feedback=feedback)
    if request.intent is not None:
        route = _overrule(shelf, route, request.query, meaning, request.intent)
    routed = time.perf_counter()
    found = _ground(shelf, request.query, meaning, request.language, context)
    done = time.perf_counter()
    return Reading(route, (routed - started) * 1000, found, (done - routed) * 1000)


def _overrule(shelf: Shelf, route: RouteChoice, query: str, vector: Vectors, chosen: Intent) -> RouteChoice:
    """Take the route that the person has chosen, and learn from it if it was not clear by itself."""
    reason = "chosen by you"
    if route.intent is not chosen or not route.sure:
        try:
            shelf.knowledge.overrule(query, vector, chosen)
        except StorageFailed as error:
            reason += f" this time; it could not be remembered: {error.message}"
    return replace(route, intent=chosen, sure=True, reason=reason)


def _look_up(shelf: Shelf, prompt: str, language: str, context: RequestContext) -> Grounding:
    return _ground(shelf, prompt, shelf.embedder.embed([prompt])[0], language, context)


def _ground(shelf: Shelf, prompt: str, vector: Vectors, language: str, context: RequestContext) -> Grounding:
    settings = context.settings
    matches = shelf.knowledge.search(prompt, vector, limit=settings.sources, language=language)
    return grounding.decide(matches, shelf.knowledge.thresholds(), settings.threshold)


def _timed(result: R, reading: Reading) -> R:
    timings = replace(result.timings, route=reading.route_ms, retrieve=reading.retrieve_ms)
    return replace(result, timings=timings)
