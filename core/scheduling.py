"""Which job runs next: a pure function of the queue, the resident models and the time.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job in the queue."""

    ticket: int
    """Order of arrival."""
    model: Hashable
    """Jobs with an equal value can run without loading another model in between."""
    since: float
    """When it arrived, in seconds."""
    background: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Residency:
    """What is in memory, and since when."""

    models: Collection[Hashable] = ()
    since: float = 0.0
    """When the last load ended, in seconds."""


def choose(queue: Sequence[Waiting], residency: Residency, now: float, *, max_wait: float) -> Waiting | None:
    """Return the job to run next, or None if the queue is empty.

    1. Background jobs run only when nothing else waits.
    2. A job whose model is not resident goes first once it has waited `max_wait` seconds since it
       arrived or since the last load, whichever is later. So every model is served in turn, and
       under the heaviest load at most one load happens in `max_wait` seconds.
    3. Jobs of resident models go before all others.
    4. Otherwise the order is that of arrival.
    """
    foreground = [job for job in queue if not job.background]  # 1
    candidates = sorted(foreground or queue, key=lambda job: job.ticket)
    resident = [job for job in candidates if job.model in residency.models]
    others = [job for job in candidates if job.model not in residency.models]
    overdue = [job for job in others if now - max(job.since, residency.since) >= max_wait]
    for group in (overdue, resident, others):  # 2, 3, 4
        if group:
            return group[0]
    return None
