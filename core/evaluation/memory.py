"""Long conversations: does the prompt stay within its bound, is nothing lost, what is remembered?

In each dialogue something is told first; then talk about other code follows until that turn no
longer stands in the prompt word for word; then it is asked for. Every other dialogue stops the
engine right after an answer, when it would summarise: what was said has to survive that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from core.engine.client import EngineClient
from core.evaluation import metrics
from core.evaluation.cases import MemoryCase, read_cases
from core.evaluation.engines import end_engine, throw_away_engine
from core.evaluation.generation import pass_rates
from core.evaluation.report import Report, examples, figure, percent_with_interval
from core.evaluation.setup import Setup
from core.messages import (
    CodeSelection,
    Conversation,
    ConversationRequest,
    ExplainRequest,
    Explanation,
    TaskDetails,
    TaskList,
    TaskRequest,
    TasksRequest,
)

NAME = "memory"
_TIGHT = {"conversationTokens": 700, "explainMaxTokens": 48}
"""Lets turns leave the prompt after a few exchanges; what the person has set goes first."""
_LONGEST_DIALOGUE = 40
_STOP_AFTER = 3
"""Exchanges after which the engine is stopped in every other dialogue."""
_SUMMARY_TIMEOUT = 90.0
_POLL = 0.5
_TASKS = 40
_QUESTIONS = (
    "What does this function return?",
    "Which input would make it fail?",
    "What is its time complexity?",
    "Can you say that in one sentence?",
    "Which names in it are unclear, and why? Go through them one after the other.",
    "And what happens if the argument is empty?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One question and its answer, and the prompt it took."""

    question: str
    answer: str
    prompt_tokens: int
    limit: int
    shortened: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """What came of one conversation."""

    exchanges: list[Exchange] = field(default_factory=list)
    lost: int
    """Turns that are not on disk as they were said."""
    interrupted: bool
    left: bool
    """Whether the turn with the fact no longer stood in the prompt when it was asked for."""
    summary: str | None = None
    in_summary: bool
    recalled: bool
    recalled_at_once: bool
    """Whether a new conversation of two turns recalls it: what the model can do at all."""


async def evaluate(setup: Setup) -> Report:
    """Hold every dialogue."""
    data = read_cases(MemoryCase, setup.data, NAME, setup.limit)
    with setup.run(NAME, data.digest, len(data.cases)) as run:
        async with throw_away_engine(setup.folders, _TIGHT | setup.settings) as engine:
            codes = await _codes(engine)
            dialogues = [
                await run.case("dialogues", case.fact, Dialogue, partial(_hold, engine, case, number, codes))
                for number, case in enumerate(data.cases)
            ]
    return report(data.source, data.cases, dialogues)


def report(source: str, cases: Sequence[MemoryCase], dialogues: Sequence[Dialogue]) -> Report:
    """Put the figures together; `dialogues` belong to `cases`, one each."""
    exchanges = [one for dialogue in dialogues for one in dialogue.exchanges]
    within = [one.prompt_tokens <= one.limit for one in exchanges]
    fullest = max((one.prompt_tokens / one.limit for one in exchanges), default=0.0)
    in_summary = [one.in_summary for one in dialogues if one.left]
    recalled = [one.recalled for one in dialogues if one.left]
    at_once = [one.recalled_at_once for one in dialogues]
    lost = sum(one.lost for one in dialogues)
    interrupted = [one for one in dialogues if one.interrupted]
    return Report(
        name=NAME,
        title="Memory: long conversations",
        figures={
            "boundHeld": all(within),
            "turns": len(exchanges),
            "fullestPrompt": figure(fullest),
            "turnsLost": lost,
            "summariesInterrupted": len(interrupted),
            "turnsLostWhenInterrupted": sum(one.lost for one in interrupted),
            "factsInSummary": figure(metrics.share(in_summary)),
            "factsRecalled": figure(metrics.share(recalled)),
            "factsRecalledAtOnce": figure(metrics.share(at_once)),
            "n": len(dialogues),
        },
        facts=(
            ("data", source),
            ("dialogues", f"{len(dialogues)} with {len(exchanges)} exchanges"),
            ("prompts within their bound", percent_with_interval(within)),
            ("fullest prompt", f"{fullest:.1%} of its limit"),
            ("turns that are not on disk as they were said", str(lost)),
            ("engine stopped while it would summarise", f"{len(interrupted)} times"),
            ("the fact is in the summary", percent_with_interval(in_summary)),
            ("recalled after it had left the prompt", percent_with_interval(recalled)),
            ("recalled in a conversation of two turns", percent_with_interval(at_once)),
        ),
        tables=(
            examples("Dialogues", ("told", "turns", "in summary", "recalled", "summary"), _rows(cases, dialogues)),
        ),
        plots=(pass_rates([("in the summary", in_summary), ("recalled", recalled), ("recalled at once", at_once)]),),
    )


def holds(text: str | None, words: Sequence[str]) -> bool:
    """Whether one of the words is in a text, whatever its case."""
    return any(word.lower() in (text or "").lower() for word in words)


def _rows(cases: Sequence[MemoryCase], dialogues: Sequence[Dialogue]) -> list[list[str]]:
    return [
        [case.fact, str(len(one.exchanges)), _yes(one.in_summary), _yes(one.recalled), one.summary or "none"]
        for case, one in zip(cases, dialogues, strict=True)
    ]


def _yes(value: bool) -> str:  # noqa: FBT001 - a value to be shown
    return "yes" if value else "no"


class _Talk:
    """One conversation with the engine, and what was said in it."""

    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine
        self._id: str | None = None
        self.exchanges: list[Exchange] = []
        self.left = False

    async def say(self, question: str, selection: CodeSelection | None = None) -> str:
        request = ExplainRequest(question=question, selection=selection, conversation_id=self._id)
        answer = await self._engine.call(request, Explanation)
        self._id = answer.conversation_id
        self.left = answer.memory.summarised + answer.memory.omitted > 0
        exchange = Exchange(
            question=question,
            answer=answer.text,
            prompt_tokens=answer.memory.prompt_tokens,
            limit=answer.memory.limit,
            shortened=answer.memory.shortened,
        )
        self.exchanges.append(exchange)
        return answer.text

    async def stored(self) -> Conversation:
        assert self._id is not None
        return await self._engine.call(ConversationRequest(conversation_id=self._id), Conversation)

    async def summary(self) -> str | None:
        """Wait until there is a summary: it is made when nothing else is to do."""
        for _ in range(int(_SUMMARY_TIMEOUT / _POLL)):
            if (summary := (await self.stored()).summary) is not None:
                return summary
            await asyncio.sleep(_POLL)
        return None

    async def lost(self) -> int:
        """Count the turns that are not on disk as they were said."""
        kept = [(turn.question, turn.answer) for turn in (await self.stored()).turns]
        said = [(one.question, one.answer) for one in self.exchanges]
        return sum(turn not in kept for turn in said) + max(0, len(said) - len(kept))


async def _hold(engine: EngineClient, case: MemoryCase, number: int, codes: Sequence[str]) -> Dialogue:
    choose = random.Random(number)  # noqa: S311 - the same dialogue in every run
    interrupted = number % 2 == 1
    talk = _Talk(engine)
    await talk.say(case.fact)
    while not talk.left and len(talk.exchanges) < _LONGEST_DIALOGUE:
        code = choose.choice([None, *choose.sample(codes, 2)])
        await talk.say(choose.choice(_QUESTIONS), CodeSelection(text=code) if code else None)
        if interrupted and len(talk.exchanges) == _STOP_AFTER:
            await end_engine(engine)
    summary = await talk.summary() if talk.left else None
    answer = await talk.say(case.question)
    at_once = _Talk(engine)
    await at_once.say(case.fact)
    answer_at_once = await at_once.say(case.question)
    return Dialogue(
        exchanges=talk.exchanges,
        lost=await talk.lost(),
        interrupted=interrupted and len(talk.exchanges) >= _STOP_AFTER,
        left=talk.left,
        summary=summary,
        in_summary=holds(summary, case.answer),
        recalled=holds(answer, case.answer),
        recalled_at_once=holds(answer_at_once, case.answer),
    )


async def _codes(engine: EngineClient) -> list[str]:
    """Return implementations of built-in tasks, to talk about."""
    tasks = (await engine.call(TasksRequest(limit=_TASKS), TaskList)).tasks
    return [(await engine.call(TaskRequest(task_id=task.task_id), TaskDetails)).implementation for task in tasks]
