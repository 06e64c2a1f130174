"""From a description to code, grounded in solved tasks that are close enough."""

from __future__ import annotations

import asyncio

from core.cancellation import CancelToken
from core.context import RequestContext
from core.generation import adapt, grounding
from core.generation.contradiction import contradict
from core.generation.examples import are_telling, read_examples, try_on
from core.generation.extract import StreamingExtractor
from core.generation.grounding import Band, Grounding
from core.generation.postprocess import check_syntax
from core.generation.prompts import Solution, plan_generation
from core.knowledge.task import Match
from core.messages import GenerateRequest, Generation, Role, Timings, Tokens
from core.models.interface import JobTimes, ModelJob, ModelRunner, SamplingParams
from core.models.registry import ModelRegistry
from core.models.reply import collect
from core.models.worker import ModelWorker

PREFIX_ROOM = 8
"""Tokens kept free for the opening fence that the reply starts with."""
_SAME_WORDS = 0.8
"""Similarity from which a match is worded as the request; an example that it does not meet is a mistake then.

So it is for three tasks of HumanEval, and no other task is that close to any of them.
"""


class Generator:
    """Writes code for a description that retrieval has looked up."""

    def __init__(self, registry: ModelRegistry, models: ModelWorker) -> None:
        self._registry = registry
        self._models = models

    async def generate(self, request: GenerateRequest, found: Grounding, context: RequestContext) -> Generation:
        """Adapt a stored implementation, have the model write the code, or say that the task is unknown.

        With `request.force` the model writes in any case. A task that does not do what the
        examples in the request show is none of those that the code may follow.

        Args:
            request: What is asked for.
            found: The closest tasks, and whether they are close enough.
            context: The request's surroundings.

        Raises:
            ContextTooLong: The description does not fit into the model's context.
        """
        found = await asyncio.to_thread(_try_examples, request, found, context.token)
        if not request.force:
            if found.band is Band.UNKNOWN:
                return _unknown(found, context)
            if (known := _same_task(request, found)) is not None:
                return _adapted(request, found, known, context)
        settings = context.settings
        job = ModelJob(
            role=Role.GENERATE,
            model=self._registry.resolve(settings, Role.GENERATE),
            device=settings.device,
            precision=settings.precision,
            token=context.token,
            on_phase=context.emit,
            run=lambda runner, times: _write(request, found, context, runner, times),
            keep_alive=settings.keep_alive,
            method=request.method,
        )
        return await asyncio.wrap_future(self._models.submit(job))


def _unknown(found: Grounding, context: RequestContext) -> Generation:
    return Generation(
        status="unknown",
        sources=[match.to_message() for match in found.closest],
        threshold=found.threshold,
        band=found.band,
        message=grounding.refusal(found),
        timings=Timings(total=context.elapsed()),
    )


def _try_examples(request: GenerateRequest, found: Grounding, token: CancelToken) -> Grounding:
    """Hold the tasks that the code may follow against the examples in the request, if there are any."""
    if request.language != "python" or not found.used:
        return found
    examples = read_examples(request.prompt)
    if not examples:
        return found
    trials = {
        one.task.id: try_on(request.prompt, one.task.implementation, examples, token)
        for one in found.used
        if one.similarity < _SAME_WORDS
    }
    failed = {task_id: trial.failed for task_id, trial in trials.items() if trial.failed is not None}
    met = [task_id for task_id, trial in trials.items() if trial.met and are_telling(examples)]
    return grounding.after_examples(found, failed, met)


def _same_task(request: GenerateRequest, found: Grounding) -> Match | None:
    """Return the best match if it is practically what is asked for: by its words, its owner or its examples."""
    if request.language != "python":
        return None
    best = found.closest[0]
    close_enough = found.own or found.confirmed or best.similarity >= found.same
    return best if close_enough and not contradict(request.prompt, best.task.description) else None


def _adapted(request: GenerateRequest, found: Grounding, known: Match, context: RequestContext) -> Generation:
    adaptation = adapt.adapt(request.prompt, known.task.implementation)
    context.emit(Tokens(text=adaptation.code))
    words = (_introduction(found, known), *adaptation.changes)
    return Generation(
        status="generated",
        code=adaptation.code,
        sources=[match.to_message() for match in found.closest],
        threshold=found.threshold,
        grounded=found.band is Band.GROUNDED,
        band=found.band,
        adapted=True,
        checks=check_syntax(adaptation.code, request.language),
        finish="stop",
        message=" ".join(words),
        timings=Timings(first_token=context.elapsed(), total=context.elapsed()),
    )


def _introduction(found: Grounding, known: Match) -> str:
    if known.similarity >= found.same:
        return f"This is the stored implementation of {known.task.id}."
    if found.confirmed:
        return f"This is the stored implementation of {known.task.id}, which meets your examples."
    return (
        f"This is what you have taught as “{known.task.description}” ({known.task.id}). Its similarity is "
        f"{known.similarity:.2f}, so check that it is what you want, or generate anyway."
    )


def _write(
    request: GenerateRequest, found: Grounding, context: RequestContext, runner: ModelRunner, times: JobTimes
) -> Generation:
    budget = min(context.settings.generate_max_tokens, runner.context_length // 2)
    plan = plan_generation(
        request.prompt,
        [_solution(match) for match in found.used],
        request.language,
        count=lambda messages: len(runner.encode_chat(messages)),
        limit=runner.context_length - budget - PREFIX_ROOM,
    )
    prompt = runner.encode_chat(plan.messages, plan.reply_prefix)
    stream = _CodeStream(request.language, context)
    stream.feed(plan.reply_prefix)
    before = context.elapsed()
    reply = collect(
        runner.generate(prompt, SamplingParams(max_tokens=budget, stop=plan.stop), context.token), stream.feed
    )
    code = stream.finish()
    return Generation(
        status="generated",
        code=code,
        sources=[match.to_message() for match in found.closest],
        threshold=found.threshold,
        grounded=found.band is Band.GROUNDED,
        band=found.band,
        model=runner.name,
        checks=check_syntax(code, request.language),
        finish=reply.finish,
        timings=Timings(
            queue=times.queue,
            swap=times.swap,
            first_token=None if reply.first_token is None else before + reply.first_token,
            total=context.elapsed(),
            tokens_per_second=reply.tokens_per_second,
        ),
    )


def _solution(match: Match) -> Solution:
    task = match.task
    return Solution(description=task.description, implementation=task.implementation, similarity=match.similarity)


class _CodeStream:
    """Passes on the code of a streamed reply, and keeps it."""

    def __init__(self, language: str, context: RequestContext) -> None:
        self._extractor = StreamingExtractor(language)
        self._context = context
        self._code = ""

    def feed(self, text: str) -> None:
        self._send(self._extractor.feed(text))

    def finish(self) -> str:
        self._send(self._extractor.finish())
        return self._code

    def _send(self, code: str) -> None:
        self._code += code
        if code:
            self._context.emit(Tokens(text=code))
