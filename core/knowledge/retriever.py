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
    pairs = [(task, pair) for (task, _), pair in zip(candidates, compared, strict=True)]
    pairs.sort(key=lambda one: -one[1].similarity)
    similarities = against_crowd([pair.similarity for _, pair in pairs])
    matches = [
        _match(task, pair, similarity, shifts.get(task.id))
        for (task, pair), similarity in zip(pairs, similarities, strict=True)
    ]
    matches.sort(key=lambda one: (-one.similarity, _PREFERENCE.index(one.task.origin), one.task.id))
    return [
        replace(one, lead=one.similarity - (matches[place].similarity if place < len(matches) else 0.0))
        for place, one in enumerate(matches, start=1)
    ]


def _match(task: Task, pair: Pair, similarity: float, shift: Shift | None) -> Match:
    if shift is None:
        return Match(task=task, similarity=similarity, reason=_reason(pair))
    shifted = min(1.0, max(0.0, similarity + shift.amount))
    return Match(task=task, similarity=shifted, reason=f"{_reason(pair)}; {shift.reason}")


def _reason(pair: Pair) -> str:
    reason = f"meaning {pair.meaning:.2f}, wording {pair.wording:.2f}"
    for ours, theirs in pair.contrasts:
        reason += f"; asks for “{ours}”, the task has “{theirs}”"
    return reason
