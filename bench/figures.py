"""What benchmarks share: percentiles, and a table for people before one line of JSON."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share / 100 * (len(ordered) - 1)))]


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)


def load_average() -> float:
    """Return how busy the machine is, as the mean number of waiting processes over a minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def show(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print a table."""
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")


def finish(result: Mapping[str, Any]) -> None:
    """Print the figures for programs; the last line that a benchmark writes."""
    print(json.dumps({**result, "cores": os.cpu_count(), "loadAverage": round(load_average(), 1)}))
