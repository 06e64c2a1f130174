from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation import metrics

scored = st.lists(st.tuples(st.integers(0, 12).map(lambda i: i / 12), st.booleans()), max_size=40)
both_classes = scored.filter(lambda pairs: {label for _, label in pairs} == {True, False})


def split(pairs: list[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    return [score for score, _ in pairs], [label for _, label in pairs]


@given(both_classes)
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[float, bool]]) -> None:
    good = [score for score, label in pairs if label]
    bad = [score for score, label in pairs if not label]
    naive = sum((g > b) + 0.5 * (g == b) for g in good for b in bad) / (len(good) * len(bad))
    assert metrics.auroc(*split(pairs)) == pytest.approx(naive)


def test_auroc_needs_both_classes() -> None:
    assert math.isnan(metrics.auroc([0.1, 0.2], [True, True]))
    assert math.isnan(metrics.auroc([], []))


@given(both_classes)
def test_roc_curve_holds_the_rates_of_every_threshold(pairs: list[tuple[float, bool]]) -> None:
    scores, labels = split(pairs)
    curve = metrics.roc_curve(scores, labels)
    assert list(curve.thresholds[1:]) == sorted(set(scores), reverse=True)
    for threshold, false_positive, true_positive in zip(
        curve.thresholds, curve.false_positive, curve.true_positive, strict=True
    ):
        assert false_positive == pytest.approx(metrics.false_accept_rate(scores, labels, threshold))
        assert true_positive == pytest.approx(1 - metrics.false_refusal_rate(scores, labels, threshold))


@given(both_classes)
def test_area_under_the_roc_curve_is_auroc(pairs: list[tuple[float, bool]]) -> None:
    curve = metrics.roc_curve(*split(pairs))
    area = np.trapezoid(curve.true_positive, curve.false_positive)
    assert area == pytest.approx(metrics.auroc(*split(pairs)))


@given(both_classes, st.sampled_from([0.5, 0.9, 0.95, 1.0]))
def test_fpr_at_tpr_is_the_best_that_keeps_enough_positives(pairs: list[tuple[float, bool]], tpr: float) -> None:
    scores, labels = split(pairs)
    naive = min(
        metrics.false_accept_rate(scores, labels, threshold)
        for threshold in set(scores)
        if 1 - metrics.false_refusal_rate(scores, labels, threshold) >= tpr - 1e-9
    )
    assert metrics.fpr_at_tpr(scores, labels, tpr) == pytest.approx(naive)


def test_a_score_at_the_threshold_is_accepted() -> None:
    scores, known = [0.7, 0.69, 0.7, 0.2], [True, True, False, False]
    assert metrics.false_refusal_rate(scores, known, 0.7) == 0.5
    assert metrics.false_accept_rate(scores, known, 0.7) == 0.5


@given(scored)
def test_risk_is_the_share_of_errors_among_the_answered(pairs: list[tuple[float, bool]]) -> None:
    confidence, wrong = split(pairs)
    curve = metrics.risk_coverage(confidence, wrong)
    thresholds = sorted(set(confidence), reverse=True)
    assert len(curve.risk) == len(thresholds)
    for threshold, coverage, risk in zip(thresholds, curve.coverage, curve.risk, strict=True):
        answered = [error for score, error in pairs if score >= threshold]
        assert coverage == pytest.approx(len(answered) / len(pairs))
        assert risk == pytest.approx(sum(answered) / len(answered))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_stays_within_bounds(counts: tuple[int, int]) -> None:
    successes, trials = counts
    low, high = metrics.wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1


def test_wilson_interval_of_a_published_example() -> None:
    # Newcombe (1998), table I: 81 of 263.
    assert metrics.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_confusion_and_recall() -> None:
    expected, given_ = ["a", "a", "b", "b"], ["a", "b", "b", "c"]
    assert metrics.confusion(expected, given_)["b"] == {"a": 0, "b": 1, "c": 1}
    assert metrics.recall_per_label(expected, given_) == {"a": 0.5, "b": 0.5}


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long"):
        metrics.auroc([0.1], [True, False])
