"""HumanEval pass@1, with retrieval and without.

HumanEval is also what the assistant knows, so each task is forgotten while it is asked for:
it is never retrieved for itself. Without retrieval means with an empty store. Decoding is
greedy, one answer a task, and an unknown task is generated anyway. Where retrieval has nothing
to offer, the prompt is the same without it, and so is the answer: it is written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from core.engine.client import EngineClient
from core.errors import ModelMissing
from core.evaluation import metrics
from core.evaluation.answers import Verdict, preamble, try_out
from core.evaluation.cases import DataSet, GenerationCase, read_cases
from core.evaluation.engines import throw_away_engine
from core.evaluation.plots import Bar, bars
from core.evaluation.report import Plot, Report, Table, examples, figure, percent_with_interval
from core.evaluation.setup import Setup
from core.generation.grounding import Band
from core.messages import (
    ForgetRequest,
    GenerateRequest,
    Generation,
    RestoreTaskRequest,
    TaskDetails,
    TaskList,
    TasksRequest,
)
from core.models.registry import ModelRegistry
from core.settings import parse_settings

NAME = "generation"
_ALL = 1_000_000
"""More tasks than any store has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One answer, tried out."""

    passed: bool
    problem: str | None = None
    code: str = ""
    band: str
    """What retrieval had to offer: `grounded`, `weak` or `unknown`."""
    adapted: bool
    syntax: bool
    finish: str | None = None
    model: str | None = None


async def evaluate(setup: Setup) -> Report:
    """Complete every function twice and run its tests."""
    data = _read(setup)
    with setup.run(NAME, data.digest, 2 * len(data.cases)) as run:
        async with throw_away_engine(setup.folders, setup.settings) as engine:
            stored = [task.task_id for task in (await engine.call(TasksRequest(limit=_ALL), TaskList)).tasks]
            grounded = [
                await run.case(
                    "functions written, with retrieval",
                    f"with/{case.task_id}",
                    Attempt,
                    partial(_leave_out, engine, case, stored),
                )
                for case in data.cases
            ]
            await _forget(engine, stored)
            without = [
                await run.case(
                    "functions written, without retrieval",
                    f"without/{case.task_id}",
                    Attempt,
                    partial(_without, engine, case, attempt),
                )
                for case, attempt in zip(data.cases, grounded, strict=True)
            ]
    return report(data.source, data.cases, grounded, without)


def report(
    source: str, cases: Sequence[GenerationCase], grounded: Sequence[Attempt], without: Sequence[Attempt]
) -> Report:
    """Put the figures together; both lists of attempts belong to `cases`, one each."""
    passed, passed_without = [one.passed for one in grounded], [one.passed for one in without]
    gained, lost = flips(cases, passed_without, passed)
    models = sorted({one.model for one in (*grounded, *without) if one.model})
    adapted = sum(one.adapted for one in grounded)
    same = sum(one.band == Band.UNKNOWN for one in grounded)
    return Report(
        name=NAME,
        title="Generation: do the functions pass their tests?",
        figures={
            "passAt1": figure(metrics.share(passed)),
            "passAt1NoRetrieval": figure(metrics.share(passed_without)),
            "n": len(cases),
            "gained": len(gained),
            "lost": len(lost),
            "adapted": adapted,
            "samePrompt": same,
            "syntaxValid": figure(metrics.share([one.syntax for one in grounded])),
            "model": ", ".join(models),
        },
        facts=(
            ("data", source),
            ("model", ", ".join(models)),
            ("pass@1 with retrieval, leaving each task out", percent_with_interval(passed)),
            ("pass@1 without retrieval", percent_with_interval(passed_without)),
            ("passes only with retrieval", str(len(gained))),
            ("passes only without retrieval", str(len(lost))),
            ("answered with an adapted task", str(adapted)),
            ("asked in the same words, since nothing was close enough", str(same)),
        ),
        tables=(
            _by_band(grounded, without),
            examples("Passes only with retrieval", ("task",), [[one.task_id] for one in gained]),
            examples("Passes only without retrieval", ("task",), [[one.task_id] for one in lost]),
            examples("Failed with retrieval", ("task", "band", "problem"), _failed(cases, grounded)),
        ),
        plots=(pass_rates([("with retrieval", passed), ("without retrieval", passed_without)]),),
    )


def flips(cases: Sequence[Any], before: Sequence[bool], after: Sequence[bool]) -> tuple[list[Any], list[Any]]:
    """Return the cases that only pass after a change, and those that only passed before it."""
    triples = list(zip(cases, before, after, strict=True))
    gained = [case for case, was, is_now in triples if is_now and not was]
    lost = [case for case, was, is_now in triples if was and not is_now]
    return gained, lost


def pass_rates(groups: Sequence[tuple[str, Sequence[bool]]]) -> Plot:
    """Return a plot of how many answers pass in each group, with 95 % intervals."""
    rows = [Bar(label, metrics.share(ok), *metrics.wilson_interval(sum(ok), len(ok))) for label, ok in groups if ok]
    return Plot(
        title="Answers that pass their tests",
        svg=bars(rows, "; ".join(f"{row.label}: {row.value:.1%}" for row in rows)),
        caption="The lines are 95% confidence intervals (Wilson).",
    )


async def write_code(engine: EngineClient, prompt: str, *, anyway: bool) -> Generation:
    """Ask for code; a task that is unknown is generated `anyway`, as a person may decide."""
    answer = await engine.call(GenerateRequest(prompt=prompt), Generation)
    if answer.status == "unknown" and anyway:
        return await engine.call(GenerateRequest(prompt=prompt, force=True), Generation)
    return answer


def attempt_of(answer: Generation, verdict: Verdict) -> Attempt:
    """Return what is kept of an answer."""
    return Attempt(
        passed=verdict.passed,
        problem=verdict.problem,
        code=answer.code or "",
        band=answer.band,
        adapted=answer.adapted,
        syntax=bool(answer.checks and answer.checks.syntax),
        finish=answer.finish,
        model=answer.model,
    )


async def _attempt(engine: EngineClient, case: GenerationCase) -> Attempt:
    answer = await write_code(engine, case.prompt, anyway=True)
    code = f"{preamble(case.prompt, case.entry_point)}\n{answer.code}"
    verdict = await try_out(code, f"{case.test}\n\ncheck({case.entry_point})\n")
    return attempt_of(answer, verdict)


async def _without(engine: EngineClient, case: GenerationCase, grounded: Attempt) -> Attempt:
    """Ask for a function with an empty store, unless the answer is known already."""
    return grounded if grounded.band == Band.UNKNOWN else await _attempt(engine, case)


async def _leave_out(engine: EngineClient, case: GenerationCase, stored: Sequence[str]) -> Attempt:
    """Ask for a function while its own task is forgotten."""
    own = [task_id for task_id in stored if task_id == case.task_id]
    await _forget(engine, own)
    attempt = await _attempt(engine, case)
    await _restore(engine, own)
    return attempt


async def _forget(engine: EngineClient, task_ids: Sequence[str]) -> None:
    for task_id in task_ids:
        await engine.call(ForgetRequest(task_id=task_id), TaskDetails)


async def _restore(engine: EngineClient, task_ids: Sequence[str]) -> None:
    for task_id in task_ids:
        await engine.call(RestoreTaskRequest(task_id=task_id), TaskDetails)


def _read(setup: Setup) -> DataSet[GenerationCase]:
    """Read the person's functions, or the installed HumanEval."""
    settings, _ = parse_settings(setup.settings)
    path = setup.data or ModelRegistry(setup.folders).knowledge_file(settings)
    if path is None:
        raise ModelMissing(
            "HumanEval is not on this machine. Bring it with: ai-codegen-assistant models pull " + settings.model_set
        )
    return read_cases(GenerationCase, path, NAME, setup.limit)


def _by_band(grounded: Sequence[Attempt], without: Sequence[Attempt]) -> Table:
    """Show where retrieval helps: pass rates by what it had to offer."""
    pairs = list(zip(grounded, without, strict=True))
    rows = []
    for band in sorted({one.band for one in grounded}):
        mine = [(one.passed, other.passed) for one, other in pairs if one.band == band]
        passed, passed_without = sum(one for one, _ in mine), sum(other for _, other in mine)
        rows.append((band, str(len(mine)), str(passed), str(passed_without)))
    return Table(
        title="By what retrieval had to offer",
        columns=("band", "functions", "pass with retrieval", "pass without"),
        rows=tuple(rows),
    )


def _failed(cases: Sequence[GenerationCase], attempts: Sequence[Attempt]) -> list[list[str]]:
    return [
        [case.task_id, one.band, one.problem or ""] for case, one in zip(cases, attempts, strict=True) if not one.passed
    ]
