"""What evaluations measure, as pure functions of numbers.

Throughout, a score is a confidence: the higher, the more it speaks for `True`; and a threshold
accepts what reaches it (`score >= threshold`), as the assistant does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_Z_95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True)
class RocCurve:
    """Rates at every threshold that makes a difference, from accepting nothing to accepting all."""

    false_positive: Floats
    true_positive: Floats
    thresholds: Floats


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Share of wrong answers among the answered, when only the most confident are answered."""

    coverage: Floats
    risk: Floats

    @property
    def area(self) -> float:
        """Mean risk over all coverages (AURC); lower is better."""
        return float(self.risk.mean()) if len(self.risk) else math.nan


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the probability that a positive scores higher than a negative; ties count half.

    Returns:
        NaN if either class is empty.
    """
    values, labels = _pair(scores, positive)
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return math.nan
    rank_sum = _mid_ranks(values)[labels].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def roc_curve(scores: ArrayLike, positive: ArrayLike) -> RocCurve:
    """Return false and true positive rates; both are NaN where their class is empty."""
    values, labels = _pair(scores, positive)
    order = np.argsort(-values, kind="stable")
    values, labels = values[order], labels[order]
    last_of_ties = np.flatnonzero(np.append(np.diff(values) != 0, True)) if len(values) else np.empty(0, np.intp)
    accepted_positive = np.cumsum(labels)[last_of_ties]
    accepted_negative = np.cumsum(~labels)[last_of_ties]
    return RocCurve(
        false_positive=_share(np.append(0, accepted_negative), int((~labels).sum())),
        true_positive=_share(np.append(0, accepted_positive), int(labels.sum())),
        thresholds=np.append(np.inf, values[last_of_ties]),
    )


def fpr_at_tpr(scores: ArrayLike, positive: ArrayLike, tpr: float) -> float:
    """Return the false positive rate at the highest threshold that keeps `tpr` of the positives."""
    curve = roc_curve(scores, positive)
    reached = np.flatnonzero(curve.true_positive >= tpr - 1e-12)
    return float(curve.false_positive[reached[0]]) if len(reached) else math.nan


def false_refusal_rate(scores: ArrayLike, positive: ArrayLike, threshold: float) -> float:
    """Return the share of positives below the threshold."""
    values, labels = _pair(scores, positive)
    return _mean(values[labels] < threshold)


def false_accept_rate(scores: ArrayLike, positive: ArrayLike, threshold: float) -> float:
    """Return the share of negatives at the threshold or above."""
    values, labels = _pair(scores, positive)
    return _mean(values[~labels] >= threshold)


def risk_coverage(confidence: ArrayLike, wrong: ArrayLike) -> RiskCoverage:
    """Return the risk at each coverage at which confidence tells answers apart."""
    values, errors = _pair(confidence, wrong)
    order = np.argsort(-values, kind="stable")
    values, errors = values[order], errors[order]
    if not len(values):
        return RiskCoverage(np.empty(0), np.empty(0))
    answered = np.arange(1, len(values) + 1)
    last_of_ties = np.append(np.diff(values) != 0, True)
    risk = np.cumsum(errors) / answered
    return RiskCoverage(coverage=(answered / len(values))[last_of_ties], risk=risk[last_of_ties])


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share, after Wilson (1927); (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    share, z2 = successes / trials, _Z_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = _Z_95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def share(outcomes: Sequence[bool]) -> float:
    """Return the share of true outcomes; NaN without outcomes."""
    return sum(outcomes) / len(outcomes) if outcomes else math.nan


def confusion(expected: Sequence[str], given: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count answers: `result[expected][given]`, with every label in both places."""
    labels = sorted({*expected, *given})
    counts = {one: dict.fromkeys(labels, 0) for one in labels}
    for wanted, got in zip(expected, given, strict=True):
        counts[wanted][got] += 1
    return counts


def recall_per_label(expected: Sequence[str], given: Sequence[str]) -> dict[str, float]:
    """Return, for each label that was expected, the share that got it."""
    counts = confusion(expected, given)
    return {label: counts[label][label] / sum(counts[label].values()) for label in sorted(set(expected))}


def _pair(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    values, flags = np.asarray(scores, np.float64), np.asarray(labels, np.bool_)
    if values.shape != flags.shape or values.ndim != 1:
        raise ValueError(f"scores and labels must be equally long lists, not {values.shape} and {flags.shape}")
    return values, flags


def _mid_ranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], np.float64)


def _share(counts: NDArray[np.int_], total: int) -> Floats:
    return counts / total if total else np.full(len(counts), np.nan)


def _mean(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else math.nan
