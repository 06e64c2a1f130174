"""Deciding whether a description is known well enough to be answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from core.knowledge.task import Match
from core.knowledge.thresholds import Thresholds
from core.messages import Origin

_CLEAR_LEAD = 0.06
"""From which the best match is not to be confused with another."""


class Band(StrEnum):
    """How well the best match fits."""

    GROUNDED = "grounded"
    """At the threshold or above: its solution is followed."""
    WEAK = "weak"
    """A little below, or below that and taught by the person: its solution is used, and the result is marked."""
    UNKNOWN = "unknown"
    """Too far: nothing is made up, the assistant asks to be taught."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounding:
    """The closest tasks and what they are good for."""

    band: Band
    threshold: float
    """Similarity from which a match counts as known."""
    same: float
    """Similarity from which the best match is practically the task asked for."""
    closest: tuple[Match, ...]
    """Best first, whatever their band."""
    used: tuple[Match, ...]
    """Those whose solutions go into the prompt."""
    own: bool
    """Whether the best match is a task that the person has taught, and clearly ahead of all others."""
    refuted: tuple[tuple[Match, str], ...] = ()
    """Matches that would have been used, each with the example in the request that it does not meet."""
    confirmed: bool = False
    """Whether the best match meets the examples in the request."""


def decide(matches: Sequence[Match], thresholds: Thresholds, chosen: float = 0.0) -> Grounding:
    """Sort matches (best first) into a band.

    Args:
        matches: What retrieval has found.
        thresholds: The calibrated ones.
        chosen: The person's own threshold; 0 takes the calibrated one. It moves all limits
            by the same distance.

    What a person has taught, that person is likely to ask for. So less is enough for a weak
    match then, if no other task comes near it. Only the meaning counts there: who asks for the
    same in other words shares no wording with the task, and who asks for its sibling does.
    """
    moved = chosen - thresholds.known if chosen else 0.0
    known, weak, taught = chosen or thresholds.known, thresholds.weak + moved, thresholds.taught + moved
    best = matches[0].similarity if matches else -1.0
    own = bool(matches) and _is_own(matches[0], max(0.0, taught))
    band = Band.GROUNDED if best >= known else Band.WEAK if own or best >= max(0.0, weak) else Band.UNKNOWN
    used = () if band is Band.UNKNOWN else tuple(one for one in matches if one.similarity >= min(best, weak))
    same = max(known, thresholds.same)
    return Grounding(band=band, threshold=known, same=same, closest=tuple(matches), used=used, own=own)


def _is_own(best: Match, taught: float) -> bool:
    return best.task.origin is Origin.TAUGHT and best.meaning >= taught and best.lead >= _CLEAR_LEAD


def after_examples(grounding: Grounding, failed: Mapping[str, str], met: Collection[str]) -> Grounding:
    """Leave out what does not do what the examples in the request show.

    Args:
        grounding: As retrieval has found it.
        failed: Per task id, the example that the task does not meet.
        met: Ids of tasks that meet all examples, if these are enough to know a task by.
    """
    used = tuple(one for one in grounding.used if one.task.id not in failed)
    confirmed = bool(used) and used[0].task.id in met
    refuted = tuple((one, failed[one.task.id]) for one in grounding.used if one.task.id in failed)
    if not refuted:
        return replace(grounding, confirmed=confirmed)
    others = tuple(one for one in grounding.closest if one.task.id not in failed)
    known = bool(used) and used[0].similarity >= grounding.threshold
    last = tuple(replace(one, reason=f"{one.reason}; does not meet your example {example}") for one, example in refuted)
    return replace(
        grounding,
        band=Band.GROUNDED if known else Band.WEAK if used else Band.UNKNOWN,
        closest=(*others, *last),
        used=used,
        own=grounding.own and grounding.closest[0].task.id not in failed,
        refuted=refuted,
        confirmed=confirmed,
    )


def refusal(grounding: Grounding) -> str:
    """Say why there is no code, and what to do."""
    if grounding.refuted:
        closest, example = grounding.refuted[0]
        return (
            f"The closest task, {closest.task.id}, has similarity {closest.similarity:.2f}, but does not meet your "
            f"example {example}. Teach the task (its description and a correct implementation), or generate anyway."
        )
    if not grounding.closest:
        return "Nothing is known yet. Teach the task: its description and a correct implementation."
    best = grounding.closest[0]
    return (
        f"No known task is close enough: the closest, {best.task.id}, has similarity {best.similarity:.2f}, and "
        f"{grounding.threshold:.2f} is needed. Teach the task (its description and a correct implementation), "
        "or generate anyway."
    )
