"""From the tasks nearest in meaning to matches: order, similarity and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from core.knowledge.judgements import Shift
from core.knowledge.similarity import Candidate, Pair, against_crowd, compare
from core.knowledge.task import Match, Task
from core.messages import Origin

_PREFERENCE = (Origin.TAUGHT, Origin.IMPORTED, Origin.BUILTIN)
"""Between equals, what the person taught comes first."""


def rank(
    query: str, candidates: Sequence[tuple[Task, float]], shifts: Mapping[str, Shift] = MappingProxyType({})
) -> list[Match]:
    """Return the candidates as matches, the best first.

    Args:
        query: The words of the request.
        candidates: Tasks, the nearest in meaning first, each with the cosine of its embedding
            and the request's. There should be more of them than matches are wanted: the others
            are the crowd that a match is measured against.
        shifts: Per task id, what people's judgements add to the similarity.
    """
    compared = compare(
        query,
        [Candidate(description=task.description, cosine=cosine) for task, cosine in candidates],
    )
    similarities = _against_crowd([pair.similarity for pair in compared])
    meanings = _against_crowd([pair.alike_in_meaning for pair in compared])
    matches = [
        _match(task, pair, similarity, meaning, shifts.get(task.id))
        for (task, _), pair, similarity, meaning in zip(candidates, compared, similarities, meanings, strict=True)
    ]
    matches.sort(key=lambda one: (-one.similarity, _PREFERENCE.index(one.task.origin), one.task.id))
    nearest = sorted((one.meaning for one in matches), reverse=True)
    return [replace(one, lead=one.meaning - _best_of_others(one.meaning, nearest)) for one in matches]


def _against_crowd(values: Sequence[float]) -> list[float]:
    """Measure values in any order against the crowd; each stays in its place."""
    order = sorted(range(len(values)), key=lambda place: -values[place])
    measured = dict(zip(order, against_crowd([values[place] for place in order]), strict=True))
    return [measured[place] for place in range(len(values))]


def _best_of_others(value: float, nearest: Sequence[float]) -> float:
    """Return the best of the values, the best first, beside one that is among them."""
    if value < nearest[0]:
        return nearest[0]
    return nearest[1] if len(nearest) > 1 else 0.0


def _match(task: Task, pair: Pair, similarity: float, meaning: float, shift: Shift | None) -> Match:
    if shift is None:
        return Match(task=task, similarity=similarity, meaning=meaning, reason=_reason(pair))
    return Match(
        task=task,
        similarity=_shifted(similarity, shift),
        meaning=_shifted(meaning, shift),
        reason=f"{_reason(pair)}; {shift.reason}",
    )


def _shifted(value: float, shift: Shift) -> float:
    return min(1.0, max(0.0, value + shift.amount))


def _reason(pair: Pair) -> str:
    reason = f"meaning {pair.meaning:.2f}, wording {pair.wording:.2f}"
    for ours, theirs in pair.contrasts:
        reason += f"; asks for “{ours}”, the task has “{theirs}”"
    return reason
