"""How well the assistant tells what it knows from what it does not, and what its threshold costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from core.evaluation import metrics
from core.evaluation.plots import Mark, Series, curves, histogram
from core.evaluation.report import Plot, Report, Table, examples, figure, percent, percent_with_interval
from core.evaluation.retrieval import Searched, rank_of, search, where
from core.evaluation.setup import Setup
from core.generation.grounding import Band

T = TypeVar("T")

NAME = "unknown"
_KEPT = 0.95


async def evaluate(setup: Setup) -> Report:
    """Look up queries whose tasks are known and queries whose tasks are not."""
    return report(await search(setup))


def report(searched: Searched) -> Report:
    """Put the figures together."""
    known = [case.known for case in searched.cases]
    scores = [answer.matches[0].similarity if answer.matches else 0.0 for answer in searched.answers]
    bands = [answer.band for answer in searched.answers]
    threshold = float(np.median([answer.threshold for answer in searched.answers]))
    let_through = metrics.fpr_at_tpr(scores, known, _KEPT)
    coverage = metrics.risk_coverage(scores, _wrong_if_answered(searched))
    answered = [band != Band.UNKNOWN for band in bands]
    return Report(
        name=NAME,
        title="Unknown tasks: does the assistant know what it knows?",
        figures={
            "auroc": figure(metrics.auroc(scores, known)),
            "fprAt95Tpr": figure(let_through),
            "falseRefusalRate": figure(metrics.false_refusal_rate(scores, known, threshold)),
            "falseAcceptRate": figure(metrics.false_accept_rate(scores, known, threshold)),
            "threshold": figure(threshold),
            "knownRefused": figure(1 - metrics.share(_of(answered, known, wanted=True))),
            "unknownAnswered": figure(metrics.share(_of(answered, known, wanted=False))),
            "aurc": figure(coverage.area),
            "nKnown": sum(known),
            "nUnknown": len(known) - sum(known),
            "missingTasks": searched.missing,
        },
        facts=(
            *where(searched),
            ("queries", f"{sum(known)} known, {len(known) - sum(known)} unknown"),
            ("threshold", f"{threshold:.3f}"),
            ("AUROC", f"{metrics.auroc(scores, known):.4f}"),
            (f"unknown let through while {_KEPT:.0%} of the known are kept", percent(let_through)),
            (
                "known below the threshold",
                percent_with_interval([s < threshold for s in _of(scores, known, wanted=True)]),
            ),
            (
                "unknown at the threshold or above",
                percent_with_interval([s >= threshold for s in _of(scores, known, wanted=False)]),
            ),
        ),
        tables=(
            sweep(scores, known, threshold),
            _bands(bands, known),
            examples("Unknown tasks taken for known", *_examples(searched, scores, threshold, known=False)),
            examples("Known tasks below the threshold", *_examples(searched, scores, threshold, known=True)),
        ),
        plots=_plots(scores, known, threshold, coverage),
    )


def sweep(scores: Sequence[float], known: Sequence[bool], threshold: float) -> Table:
    """Return what other thresholds would cost; the one in use is marked."""
    choices = sorted({*np.round(np.arange(0.3, 1.0, 0.05), 2).tolist(), threshold})
    return Table(
        title="What the threshold costs (setting aiCodegenAssistant.threshold)",
        columns=("threshold", "known refused", "unknown let through"),
        rows=tuple(
            (
                f"{choice:.3f}" + (" (in use)" if choice == threshold else ""),
                percent(metrics.false_refusal_rate(scores, known, choice)),
                percent(metrics.false_accept_rate(scores, known, choice)),
            )
            for choice in choices
        ),
    )


def _wrong_if_answered(searched: Searched) -> list[bool]:
    """Tell for which queries an answer would follow the wrong task."""
    return [
        not case.known or (case.task_id is not None and rank_of(case.task_id, answer) != 1)
        for case, answer in zip(searched.cases, searched.answers, strict=True)
    ]


def _of(values: Sequence[T], known: Sequence[bool], *, wanted: bool) -> list[T]:
    return [value for value, label in zip(values, known, strict=True) if label is wanted]


def _bands(bands: Sequence[str], known: Sequence[bool]) -> Table:
    counts = {(band, label): 0 for band in Band for label in (True, False)}
    for band, label in zip(bands, known, strict=True):
        counts[Band(band), label] += 1
    meaning = {
        Band.GROUNDED: "answered from the match",
        Band.WEAK: "answered, and marked as a weak match",
        Band.UNKNOWN: "refused; asks to be taught",
    }
    return Table(
        title="What the assistant would do",
        columns=("band", "meaning", "known queries", "unknown queries"),
        rows=tuple((band.value, meaning[band], str(counts[band, True]), str(counts[band, False])) for band in Band),
    )


def _examples(
    searched: Searched, scores: Sequence[float], threshold: float, *, known: bool
) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the queries on the wrong side of the threshold, the worst first."""
    rows = [
        (score, [case.query, answer.matches[0].description if answer.matches else "nothing", f"{score:.3f}"])
        for case, answer, score in zip(searched.cases, searched.answers, scores, strict=True)
        if case.known is known and (score < threshold) is known
    ]
    rows.sort(key=lambda row: row[0], reverse=not known)
    return ("query", "closest task", "similarity"), [row for _, row in rows]


def _plots(
    scores: Sequence[float], known: Sequence[bool], threshold: float, coverage: metrics.RiskCoverage
) -> tuple[Plot, ...]:
    roc = metrics.roc_curve(scores, known)
    chance = Series("chance", (0.0, 1.0), (0.0, 1.0))
    risk_top = max(0.1, float(coverage.risk.max())) if len(coverage.risk) else 1.0
    return (
        Plot(
            title="Similarity of the closest task",
            svg=histogram(
                [Series("known", _of(scores, known, wanted=True)), Series("unknown", _of(scores, known, wanted=False))],
                [Mark(f"threshold {threshold:.2f}", threshold)],
                "similarity",
                "Histogram of the similarity of the closest task, for known and for unknown queries.",
            ),
            caption="The less the two overlap, the better. What lies right of the threshold is answered as known.",
        ),
        Plot(
            title="ROC curve",
            svg=curves(
                [Series("similarity", roc.false_positive.tolist(), roc.true_positive.tolist()), chance],
                "share of the unknown that is let through",
                "share of the known that is kept",
                f"ROC curve with an area of {metrics.auroc(scores, known):.4f}.",
            ),
            caption=f"The area under the curve is {metrics.auroc(scores, known):.4f}; chance would be 0.5.",
        ),
        Plot(
            title="Risk and coverage",
            svg=curves(
                [Series("risk", coverage.coverage.tolist(), coverage.risk.tolist())],
                "share of all queries that is answered, the most similar first",
                "share of the answers that is wrong",
                "Risk over coverage.",
                y_top=risk_top,
            ),
            caption=(
                "An answer is wrong if the task is unknown or another task is closest. "
                f"The mean risk (AURC) is {coverage.area:.4f}."
            ),
        ),
    )
