"""Explaining code in a conversation that stays within the model's context."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from core.cancellation import CancelToken
from core.context import RequestContext
from core.conversation import memory
from core.conversation.history import History
from core.conversation.prompts import DEFAULT_QUESTION, SYSTEM
from core.errors import InvalidParams, ModelFailed
from core.messages import ExplainRequest, Explanation, Role, Timings, Tokens, Turn
from core.models.interface import CountTokens, JobTimes, ModelJob, ModelRunner, OnPhase, SamplingParams
from core.models.registry import ModelRegistry
from core.models.reply import collect
from core.models.worker import ModelWorker
from core.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

REPETITION_PENALTY = 1.1
"""Keeps small models from going in circles."""


class Explainer:
    """Answers questions about code and keeps the conversation."""

    def __init__(self, registry: ModelRegistry, models: ModelWorker, history: History) -> None:
        self._registry = registry
        self._models = models
        self._history = history

    async def explain(self, request: ExplainRequest, context: RequestContext) -> Explanation:
        """Answer, store the turn, and see to the summary afterwards.

        Raises:
            InvalidParams: There is neither code nor a question.
            NotFound: The conversation does not exist.
        """
        if request.selection is None and not (request.question or "").strip():
            raise InvalidParams("question", "is required when nothing is selected")
        if request.selection is not None and not request.selection.text.strip():
            raise InvalidParams("selection.text", "is empty; select the code to explain")
        if request.conversation_id is not None:
            await asyncio.to_thread(self._history.load, request.conversation_id)

        def run(runner: ModelRunner, times: JobTimes) -> Explanation:
            return self._answer(request, context, runner, times)

        job = self._job(context.settings, context.token, run, on_phase=context.emit, method=request.method)
        explanation = await asyncio.wrap_future(self._models.submit(job))
        self._summarise_later(explanation.conversation_id, context.settings)
        return explanation

    def _job(
        self,
        settings: Settings,
        token: CancelToken,
        run: Callable[[ModelRunner, JobTimes], T],
        *,
        on_phase: OnPhase,
        method: str,
        background: bool = False,
    ) -> ModelJob[T]:
        return ModelJob(
            role=Role.EXPLAIN,
            model=self._registry.resolve(settings, Role.EXPLAIN),
            device=settings.device,
            precision=settings.precision,
            token=token,
            on_phase=on_phase,
            run=run,
            keep_alive=settings.keep_alive,
            method=method,
            background=background,
        )

    def _answer(
        self, request: ExplainRequest, context: RequestContext, runner: ModelRunner, times: JobTimes
    ) -> Explanation:
        past = self._history.load(request.conversation_id) if request.conversation_id else None
        question = (request.question or "").strip() or DEFAULT_QUESTION
        limits = _Limits.of(runner, context.settings)
        plan = memory.plan_prompt(
            SYSTEM,
            past.summary if past else None,
            past.turns if past else (),
            question,
            request.selection,
            count=_counter(runner),
            limit=limits.prompt,
        )
        prompt = runner.encode_chat(plan.messages)
        before = context.elapsed()
        params = SamplingParams(max_tokens=limits.reply, repetition_penalty=REPETITION_PENALTY)
        reply = collect(runner.generate(prompt, params, context.token), lambda text: context.emit(Tokens(text=text)))
        turn = Turn(
            question=question,
            answer=reply.text,
            selection=request.selection,
            created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            model=runner.name,
        )
        conversation_id = request.conversation_id or self._history.create()
        self._history.append(conversation_id, turn)
        return Explanation(
            conversation_id=conversation_id,
            text=reply.text,
            model=runner.name,
            memory=plan.use,
            finish=reply.finish,
            timings=Timings(
                queue=times.queue,
                swap=times.swap,
                first_token=None if reply.first_token is None else before + reply.first_token,
                total=context.elapsed(),
                tokens_per_second=reply.tokens_per_second,
            ),
        )

    def _summarise_later(self, conversation_id: str, settings: Settings) -> None:
        """Bring the summary up to date when nothing else is to do.

        A summary that fails is logged and tried again after the next turn; until it exists the
        old one stands, and the raw turns are on disk in any case.
        """
        token = CancelToken()

        def run(runner: ModelRunner, _: JobTimes) -> None:
            self._summarise(conversation_id, runner, settings, token)

        job = self._job(settings, token, run, on_phase=lambda _: None, method="summarise", background=True)
        self._models.submit(job).add_done_callback(_log_failure)

    def _summarise(self, conversation_id: str, runner: ModelRunner, settings: Settings, token: CancelToken) -> None:
        """Commit one summary after the other until all turns that have left the prompt are covered."""
        count, limit = _counter(runner), _Limits.of(runner, settings).prompt
        while True:
            past = self._history.load(conversation_id)
            plan = memory.plan_summary(SYSTEM, past.summary, past.turns, count=count, limit=limit)
            if plan is None:
                return
            params = SamplingParams(max_tokens=plan.max_tokens, repetition_penalty=REPETITION_PENALTY)
            reply = collect(runner.generate(runner.encode_chat(plan.messages), params, token), lambda _: None)
            if not reply.text.strip():
                raise ModelFailed("The model said nothing.")
            self._history.commit_summary(conversation_id, plan.summary(reply.text.strip()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """Tokens for the prompt and for the reply, which share the model's context."""

    prompt: int
    reply: int

    @classmethod
    def of(cls, runner: ModelRunner, settings: Settings) -> _Limits:
        reply = min(settings.explain_max_tokens, runner.context_length // 2)
        room = runner.context_length - reply
        return cls(prompt=min(settings.conversation_tokens or room, room), reply=reply)


def _counter(runner: ModelRunner) -> CountTokens:
    return lambda messages: len(runner.encode_chat(messages))


def _log_failure(summary: Future[None]) -> None:
    if not summary.cancelled() and (error := summary.exception()) is not None:
        log.warning("The summary of a conversation was not made: %s", error)
