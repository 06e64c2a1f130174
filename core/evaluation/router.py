"""How often the router understands what a query wants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.evaluation import metrics
from core.evaluation.cases import RouterCase, read_cases
from core.evaluation.engines import throw_away_engine
from core.evaluation.progress import Tracker
from core.evaluation.report import Report, Table, examples, figure, percent, percent_with_interval
from core.evaluation.setup import Setup
from core.messages import LookUp, LookUpRequest

NAME = "router"
_SLOWEST = 5


async def evaluate(setup: Setup) -> Report:
    """Route every query and compare with the intent it has."""
    data = read_cases(RouterCase, setup.data, NAME, setup.limit)
    tracker = Tracker(len(data.cases), setup.on_progress)
    answers: list[LookUp] = []
    async with throw_away_engine(setup.folders, setup.settings) as engine:
        for case in data.cases:
            answers.append(await engine.call(LookUpRequest(query=case.text), LookUp))
            tracker.step("queries routed")
    return report(data.source, data.cases, answers)


def report(source: str, cases: Sequence[RouterCase], answers: Sequence[LookUp]) -> Report:
    """Put the figures together; `answers` belong to `cases`, one each."""
    expected = [case.intent.value for case in cases]
    given = [answer.route.intent.value for answer in answers]
    right = [one == other for one, other in zip(expected, given, strict=True)]
    sure = [answer.route.sure for answer in answers]
    per_intent = metrics.recall_per_label(expected, given)
    milliseconds = [answer.timings.route or 0.0 for answer in answers]
    right_when_sure = [ok for ok, certain in zip(right, sure, strict=True) if certain]
    return Report(
        name=NAME,
        title="Routing: is an explanation wanted, or code?",
        figures={
            "macroAccuracy": figure(float(np.mean(list(per_intent.values())))),
            "perIntent": {intent: figure(value) for intent, value in per_intent.items()},
            "unsureRate": figure(1 - metrics.share(sure)),
            "accuracyWhenSure": figure(metrics.share(right_when_sure)),
            "n": len(cases),
            "routeP95Ms": figure(float(np.percentile(milliseconds, 95)), 2),
        },
        facts=(
            ("data", source),
            ("right", percent_with_interval(right)),
            ("right where the router was sure", percent_with_interval(right_when_sure)),
            ("unsure", percent_with_interval([not one for one in sure])),
            ("time of a route, embedding included", _times(milliseconds)),
        ),
        tables=(
            _confusion(expected, given, per_intent),
            examples("Wrong", ("query", "wanted", "given", "margin", "sure"), _wrong(cases, answers)),
            _slowest(cases, milliseconds),
        ),
    )


def _times(milliseconds: Sequence[float]) -> str:
    middle, late = np.percentile(milliseconds, [50, 95])
    return f"median {middle:.1f} ms, 95th percentile {late:.1f} ms"


def _confusion(expected: Sequence[str], given: Sequence[str], per_intent: dict[str, float]) -> Table:
    counts = metrics.confusion(expected, given)
    labels = list(counts)
    return Table(
        title="What was wanted (rows) and what was given (columns)",
        columns=("", *labels, "right"),
        rows=tuple(
            (label, *(str(counts[label][other]) for other in labels), percent(per_intent.get(label)))
            for label in labels
        ),
    )


def _wrong(cases: Sequence[RouterCase], answers: Sequence[LookUp]) -> list[list[str]]:
    return [
        [case.text, case.intent.value, route.intent.value, f"{route.margin:.3f}", "yes" if route.sure else "no"]
        for case, answer in zip(cases, answers, strict=True)
        if (route := answer.route).intent is not case.intent
    ]


def _slowest(cases: Sequence[RouterCase], milliseconds: Sequence[float]) -> Table:
    order = np.argsort(milliseconds)[::-1][:_SLOWEST]
    rows = [[cases[place].text, f"{milliseconds[place]:.1f}"] for place in order]
    return examples("Slowest", ("query", "ms"), rows)
