"""From the tasks nearest in meaning to matches: order, similarity and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    moved = [shifts.get(task.id) for task, _ in candidates]
    similarities = _shifted(_against_crowd([pair.similarity for pair in compared]), moved)
    meanings = _shifted(_against_crowd([pair.alike_in_meaning for pair in compared]), moved)
    nearest = sorted(meanings, reverse=True)
    matches = [
        Match(
            task=task,
            similarity=similarity,
            meaning=meaning,
            lead=meaning - _best_of_others(meaning, nearest),
            reason=_reason(pair, shift),
        )
        for (task, _), pair, shift, similarity, meaning in zip(
            candidates, compared, moved, similarities, meanings, strict=True
        )
    ]
    matches.sort(key=lambda one: (-one.similarity, _PREFERENCE.index(one.task.origin), one.task.id))
    return matches


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


def _shifted(values: Sequence[float], shifts: Sequence[Shift | None]) -> list[float]:
    return [
        value if shift is None else min(1.0, max(0.0, value + shift.amount))
        for value, shift in zip(values, shifts, strict=True)
    ]


def _reason(pair: Pair, shift: Shift | None) -> str:
    reason = f"meaning {pair.meaning:.2f}, wording {pair.wording:.2f}"
    for ours, theirs in pair.contrasts:
        reason += f"; asks for “{ours}”, the task has “{theirs}”"
    return reason if shift is None else f"{reason}; {shift.reason}"
