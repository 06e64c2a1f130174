"""Plots as SVG text, drawn by pure functions of numbers.

Colours are classes (`series0`, `series1`, ...) that the page defines for light and dark; series
also differ by dashes or by place, so that no colour has to be told from another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 40, 56
_TICKS = 5
_BAR, _BAR_GAP, _LABEL_ROOM = 26, 16, 190
_MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Series:
    """Named numbers; for curves `x` and `y` are equally long, for histograms `y` is not used."""

    label: str
    x: Sequence[float]
    y: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A labelled vertical line."""

    label: str
    x: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A share with its interval."""

    label: str
    value: float
    low: float
    high: float


def curves(series: Sequence[Series], x_label: str, y_label: str, description: str, y_top: float = 1.0) -> str:
    """Draw curves over x from 0 to 1 and y from 0 to `y_top`.

    Args:
        series: The curves.
        x_label: What x is.
        y_label: What y is.
        description: The plot in words, for those who cannot see it.
        y_top: Greatest y.
    """
    frame = _Frame(0.0, 1.0, min(1.0, _round_up(y_top)))
    parts = [frame.axes(x_label, y_label), _legend([one.label for one in series])]
    for number, one in enumerate(series):
        points = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in _thinned(one))
        parts.append(f'<polyline class="line series{number}" points="{points}"/>')
    return _svg(parts, description)


def histogram(series: Sequence[Series], marks: Sequence[Mark], x_label: str, description: str, bins: int = 40) -> str:
    """Draw the shares of values from 0 to 1 that fall into each bin, with vertical marks."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    shares = [np.histogram(np.clip(one.x, 0, 1), edges)[0] / max(1, len(one.x)) for one in series]
    top = max((float(one.max()) for one in shares), default=0.0) or 1.0
    frame = _Frame(0.0, 1.0, _round_up(top))
    parts = [frame.axes(x_label, "share of the queries"), _legend([one.label for one in series])]
    for number, heights in enumerate(shares):
        for left, right, height in zip(edges, edges[1:], heights, strict=False):
            if height:
                parts.append(_box(number, frame.x(left), frame.y(height), frame.x(right), frame.y(0.0)))
    parts += [frame.mark(mark) for mark in marks]
    return _svg(parts, description)


def bars(rows: Sequence[Bar], description: str) -> str:
    """Draw shares from 0 to 1 as horizontal bars with their 95 % intervals."""
    height = len(rows) * (_BAR + _BAR_GAP) + 2 * _BAR_GAP
    scale = _scale(0.0, 1.0, _LABEL_ROOM, WIDTH - 80)
    parts = []
    for number, row in enumerate(rows):
        top = _BAR_GAP + number * (_BAR + _BAR_GAP)
        middle = top + _BAR / 2
        parts += [
            _text(row.label, _LABEL_ROOM - 10, middle + 4, "end"),
            _box(number % 2, scale(0), top, scale(row.value), top + _BAR),
            f'<line class="interval" x1="{scale(row.low):.1f}" x2="{scale(row.high):.1f}" y1="{middle}" y2="{middle}"/>',
            _text(f"{row.value:.1%}", WIDTH - 70, middle + 4, "start"),
        ]
    return _svg(parts, description, height)


class _Frame:
    """The plot area: where values lie, and the axes around it."""

    def __init__(self, left: float, right: float, top: float) -> None:
        self._left, self._right, self._top_value = left, right, top
        self.x = _scale(left, right, _LEFT, WIDTH - _RIGHT)
        self.y = _scale(0.0, top, HEIGHT - _BOTTOM, _TOP)

    def axes(self, x_label: str, y_label: str) -> str:
        base, end = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        ticks = np.linspace(self._left, self._right, _TICKS + 1)
        parts = [_text(f"{value:g}", self.x(value), base + 18, "middle") for value in ticks]
        for value in np.linspace(0.0, self._top_value, _TICKS + 1):
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{end}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}"/>'
            )
            parts.append(_text(f"{value:.3g}", _LEFT - 8, self.y(value) + 4, "end"))
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{end}" y1="{base}" y2="{base}"/>')
        parts.append(_text(x_label, (_LEFT + end) / 2, HEIGHT - 12, "middle"))
        middle = (_TOP + base) / 2
        parts.append(f'<g transform="rotate(-90 16 {middle})">{_text(y_label, 16, middle, "middle")}</g>')
        return "".join(parts)

    def mark(self, mark: Mark) -> str:
        x = self.x(mark.x)
        anchor = "end" if mark.x > (self._left + self._right) / 2 else "start"
        nudge = -6 if anchor == "end" else 6
        line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        return line + _text(mark.label, x + nudge, _TOP + 12, anchor)


def _round_up(value: float) -> float:
    """Return the next number that divides well into the ticks."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * unit >= value * (1 - 1e-9))


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _thinned(series: Series) -> list[tuple[float, float]]:
    """Return at most some hundred points, the first and the last among them."""
    points = [(x, y) for x, y in zip(series.x, series.y, strict=True) if x == x and y == y]  # noqa: PLR0124 - drops NaN
    if len(points) <= _MOST_POINTS:
        return points
    kept = np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int)
    return [points[place] for place in kept]


def _legend(labels: Sequence[str]) -> str:
    parts = []
    for number, label in enumerate(labels):
        x = _LEFT + number * (WIDTH - _LEFT - _RIGHT) / max(1, len(labels))
        parts.append(f'<line class="line series{number}" x1="{x:.0f}" x2="{x + 26:.0f}" y1="20" y2="20"/>')
        parts.append(_text(label, x + 32, 24, "start"))
    return "".join(parts)


def _box(number: int, left: float, top: float, right: float, bottom: float) -> str:
    size = f'width="{max(0.0, right - left):.1f}" height="{max(0.0, bottom - top):.1f}"'
    return f'<rect class="area series{number}" x="{left:.1f}" y="{top:.1f}" {size}/>'


def _text(text: str, x: float, y: float, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], description: str, height: int = HEIGHT) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height}" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(description)}</title>{''.join(parts)}</svg>"
    )
