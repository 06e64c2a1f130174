"""How often the task that is asked for is found, and found first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.engine.client import EngineClient
from core.errors import InvalidParams, NotFound
from core.evaluation import metrics
from core.evaluation.cases import KnowledgeCase, read_cases
from core.evaluation.engines import own_engine, throw_away_engine
from core.evaluation.progress import Tracker
from core.evaluation.report import Report, examples, figure, percent_with_interval
from core.evaluation.setup import Setup
from core.messages import LookUp, LookUpRequest, TaskDetails, TaskRequest

NAME = "retrieval"
FOUND_WITHIN = 5
"""Matches looked at; the data of `unknown` are used, and their known queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What the knowledge had to say to all queries of a data set."""

    source: str
    store: str
    """Which knowledge was searched, for people."""
    cases: list[KnowledgeCase]
    answers: list[LookUp]
    """One for each case."""
    missing: int
    """Known queries whose task is not in the store."""


async def evaluate(setup: Setup) -> Report:
    """Look every known query up."""
    return report(await search(setup))


async def search(setup: Setup) -> Searched:
    """Look up all queries: the person's data in the person's store, the program's in a new one.

    The person's store is searched through the person's engine, since a store has one owner.
    Nothing is written, and as this takes seconds, an interrupted run begins anew.
    """
    data = read_cases(KnowledgeCase, setup.data, "unknown", setup.limit)
    tracker = Tracker(len(data.cases), setup.on_progress)
    connect = throw_away_engine if setup.data is None else own_engine
    answers: list[LookUp] = []
    async with connect(setup.folders, setup.settings | {"sources": FOUND_WITHIN}) as engine:
        for case in data.cases:
            answers.append(await engine.call(LookUpRequest(query=case.query), LookUp))
            tracker.step("queries looked up")
        missing = await _missing(engine, data.cases)
        count = engine.status.knowledge.count if engine.status else 0
    store = "a new store with the built-in tasks" if setup.data is None else f"the store in {setup.folders.knowledge}"
    return Searched(
        source=data.source,
        store=f"{store}, {count:,} tasks",
        cases=data.cases,
        answers=answers,
        missing=missing,
    )


def report(searched: Searched) -> Report:
    """Put the figures together.

    Raises:
        InvalidParams: No query says which task it is about.
    """
    pairs = [
        (case, answer)
        for case, answer in zip(searched.cases, searched.answers, strict=True)
        if case.known and case.task_id is not None
    ]
    if not pairs:
        raise InvalidParams("data", f"{searched.source} has no known query with a task_id")
    ranks = [rank_of(case.task_id, answer) for case, answer in pairs]
    first = [rank == 1 for rank in ranks]
    within = [rank is not None for rank in ranks]
    milliseconds = [answer.timings.retrieve or 0.0 for _, answer in pairs]
    missed = [
        [case.query, str(case.task_id), answer.matches[0].task_id if answer.matches else "nothing", str(rank or "none")]
        for (case, answer), rank in zip(pairs, ranks, strict=True)
        if rank != 1
    ]
    return Report(
        name=NAME,
        title="Retrieval: is the right task found?",
        figures={
            "top1": figure(metrics.share(first)),
            f"top{FOUND_WITHIN}": figure(metrics.share(within)),
            "meanReciprocalRank": figure(float(np.mean([1 / rank if rank else 0.0 for rank in ranks]))),
            "n": len(pairs),
            "missingTasks": searched.missing,
            "retrieveP95Ms": figure(float(np.percentile(milliseconds, 95)), 2),
        },
        facts=(
            *where(searched),
            ("found first", percent_with_interval(first)),
            (f"among the first {FOUND_WITHIN}", percent_with_interval(within)),
        ),
        tables=(examples("Not found first", ("query", "wanted", "found first", "rank of the wanted"), missed),),
    )


def rank_of(task_id: str | None, answer: LookUp) -> int | None:
    """Return the place of a task among the matches, counted from 1."""
    return next((rank for rank, match in enumerate(answer.matches, 1) if match.task_id == task_id), None)


def where(searched: Searched) -> tuple[tuple[str, str], ...]:
    """Return the facts about data and store."""
    facts = (("data", searched.source), ("knowledge", searched.store))
    if not searched.missing:
        return facts
    return (*facts, ("attention", f"{searched.missing} known queries are about tasks that are not in this store"))


async def _missing(engine: EngineClient, cases: Sequence[KnowledgeCase]) -> int:
    """Count the known queries whose task the store does not hold."""
    wanted = [case.task_id for case in cases if case.known and case.task_id is not None]
    absent = {task_id for task_id in set(wanted) if not await _holds(engine, task_id)}
    return sum(task_id in absent for task_id in wanted)


async def _holds(engine: EngineClient, task_id: str) -> bool:
    try:
        return not (await engine.call(TaskRequest(task_id=task_id), TaskDetails)).forgotten
    except NotFound:
        return False
