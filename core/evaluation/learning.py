"""Teaching tasks, then asking for them in other words: do the answers do the job?

The baseline is the same model asked the same before anything is taught; what is unknown then
is generated anyway, while after teaching a refusal counts as a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from core.engine.client import EngineClient
from core.evaluation import metrics
from core.evaluation.answers import Verdict, try_out, under_name
from core.evaluation.cases import LearningCase, read_cases
from core.evaluation.engines import throw_away_engine
from core.evaluation.generation import Attempt, attempt_of, flips, pass_rates, write_code
from core.evaluation.report import Report, Table, examples, figure, percent, percent_with_interval
from core.evaluation.setup import Setup
from core.generation.grounding import Band
from core.messages import Generation, Taught, TeachRequest

NAME = "learning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What came of one taught task."""

    answered: bool
    found: bool
    """Whether the taught task was the closest one."""
    attempt: Attempt


async def evaluate(setup: Setup) -> Report:
    """Ask for every task, teach all of them, and ask again."""
    data = read_cases(LearningCase, setup.data, NAME, setup.limit)
    # What is taught beside a task may change its answer, so the limit belongs to the configuration.
    with setup.run(NAME, f"{data.digest} {setup.limit}", 2 * len(data.cases)) as run:
        async with throw_away_engine(setup.folders, setup.settings) as engine:
            before = [
                await run.case(
                    "answers before teaching", f"before/{number}", Attempt, partial(_ask_before, engine, case)
                )
                for number, case in enumerate(data.cases)
            ]
            taught = [await _teach(engine, case) for case in data.cases]
            after = [
                await run.case(
                    "answers after teaching",
                    f"after/{number}",
                    Learnt,
                    partial(_ask_after, engine, case, taught[number]),
                )
                for number, case in enumerate(data.cases)
            ]
    return report(data.source, data.cases, before, after)


def report(source: str, cases: Sequence[LearningCase], before: Sequence[Attempt], after: Sequence[Learnt]) -> Report:
    """Put the figures together; both lists belong to `cases`, one each."""
    passed, passed_before = [one.attempt.passed for one in after], [one.passed for one in before]
    gained, lost = flips(cases, passed_before, passed)
    models = sorted({one.model for one in (*before, *(one.attempt for one in after)) if one.model})
    kinds = [kind_of(one) for one in after]
    weak = [one.attempt.passed for one in after if one.attempt.band == Band.WEAK]
    return Report(
        name=NAME,
        title="Learning: taught, then asked in other words",
        figures={
            "passRate": figure(metrics.share(passed)),
            "baselinePassRate": figure(metrics.share(passed_before)),
            "n": len(cases),
            "adapted": kinds.count("adapted"),
            "generated": kinds.count("generated"),
            "refused": kinds.count("refused"),
            "weak": len(weak),
            "foundFirst": figure(metrics.share([one.found for one in after])),
            "gained": len(gained),
            "lost": len(lost),
            "model": ", ".join(models),
        },
        facts=(
            ("data", source),
            ("model", ", ".join(models) or "none was needed"),
            ("pass after teaching", percent_with_interval(passed)),
            ("pass without teaching (the same model)", percent_with_interval(passed_before)),
            ("answers marked as a weak match", f"{len(weak)}, of which {sum(weak)} pass"),
            ("the taught task was the closest", percent_with_interval([one.found for one in after])),
            ("passes only after teaching", str(len(gained))),
            ("passes only before teaching", str(len(lost))),
        ),
        tables=(
            _by_kind(kinds, passed),
            examples("Failed after teaching", ("task", "query", "answered", "found", "problem"), _failed(cases, after)),
            examples("Passes only before teaching", ("task", "query"), [[one.task_id, one.query] for one in lost]),
        ),
        plots=(pass_rates([("after teaching", passed), ("without teaching", passed_before)]),),
    )


def kind_of(one: Learnt) -> str:
    """Name the way a task was answered."""
    if not one.answered:
        return "refused"
    return "adapted" if one.attempt.adapted else "generated"


async def _teach(engine: EngineClient, case: LearningCase) -> str:
    request = TeachRequest(description=case.description, implementation=case.implementation)
    return (await engine.call(request, Taught)).task_id


async def _ask_before(engine: EngineClient, case: LearningCase) -> Attempt:
    answer = await write_code(engine, case.query, anyway=True)
    return attempt_of(answer, await _verdict(answer, case))


async def _ask_after(engine: EngineClient, case: LearningCase, task_id: str) -> Learnt:
    answer = await write_code(engine, case.query, anyway=False)
    return Learnt(
        answered=answer.status != "unknown",
        found=bool(answer.sources) and answer.sources[0].task_id == task_id,
        attempt=attempt_of(answer, await _verdict(answer, case)),
    )


async def _verdict(answer: Generation, case: LearningCase) -> Verdict:
    if answer.code is None:
        return Verdict(passed=False, problem="refused")
    return await try_out(under_name(answer.code, case.entry_point), "\n".join(case.tests) + "\n")


def _by_kind(kinds: Sequence[str], passed: Sequence[bool]) -> Table:
    rows = []
    for kind in ("adapted", "generated", "refused"):
        mine = [ok for one, ok in zip(kinds, passed, strict=True) if one == kind]
        rows.append((kind, str(len(mine)), str(sum(mine)), percent(metrics.share(mine))))
    return Table(title="How the tasks were answered", columns=("", "tasks", "pass", "share"), rows=tuple(rows))


def _failed(cases: Sequence[LearningCase], after: Sequence[Learnt]) -> list[list[str]]:
    return [
        [case.task_id, case.query, kind_of(one), "yes" if one.found else "no", one.attempt.problem or ""]
        for case, one in zip(cases, after, strict=True)
        if not one.attempt.passed
    ]
