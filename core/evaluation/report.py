"""What an evaluation has found: figures for programs, tables and plots for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.evaluation import metrics

SHOWN = 15
"""Most rows of a list of examples; its title says how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Texts in rows and columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture, and what it shows in words."""

    title: str
    svg: str
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of an evaluation."""

    name: str
    title: str
    figures: dict[str, Any]
    """By the names that programs read; JSON values, None where a figure is not defined."""
    facts: tuple[tuple[str, str], ...]
    """What was measured, on what."""
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()


def figure(value: float, digits: int = 4) -> float | None:
    """Return a figure as JSON can hold it: rounded, None if it is not defined."""
    return round(value, digits) if math.isfinite(value) else None


def percent(value: float | None) -> str:
    """Return a share for people."""
    return "not defined" if value is None or math.isnan(value) else f"{value:.1%}"


def percent_with_interval(outcomes: Sequence[bool]) -> str:
    """Return a share with its counts and its 95 % confidence interval."""
    if not outcomes:
        return "none"
    low, high = metrics.wilson_interval(sum(outcomes), len(outcomes))
    return f"{metrics.share(outcomes):.1%} ({sum(outcomes)} of {len(outcomes)}; 95% interval {low:.1%} to {high:.1%})"


def examples(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of single cases: the first ones, with their number in the title."""
    count = f"{len(rows)}" if len(rows) <= SHOWN else f"the first {SHOWN} of {len(rows)}"
    shown = tuple(tuple(_one_line(cell) for cell in row) for row in rows[:SHOWN])
    return Table(title=f"{title}: {count}", columns=tuple(columns), rows=shown)


def _one_line(text: str, limit: int = 160) -> str:
    words = " ".join(text.split())
    return words if len(words) <= limit else words[: limit - 1] + "…"
