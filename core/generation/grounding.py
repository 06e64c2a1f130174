"""Deciding whether a description is known well enough to be answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


def refusal(grounding: Grounding) -> str:
    """Say why there is no code, and what to do."""
    if not grounding.closest:
        return "Nothing is known yet. Teach the task: its description and a correct implementation."
    best = grounding.closest[0]
    return (
        f"No known task is close enough: the closest, {best.task.id}, has similarity {best.similarity:.2f}, and "
        f"{grounding.threshold:.2f} is needed. Teach the task (its description and a correct implementation), "
        "or generate anyway."
    )
