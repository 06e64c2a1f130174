"""Places the cosines of any embedding model on the scale that the thresholds were chosen on.

A cosine of 0.6 means "the same in other words" to one model and "both are English" to
another. A dozen requests with their rewordings tell where a model puts either.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

import numpy as np

from core.knowledge.embedder import Embedder

_LEAST_SPREAD = 0.05
"""A model that hardly tells rewordings from unrelated requests is left as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Mean cosines of one embedding model."""

    unrelated: float
    """Between requests that have nothing to do with each other."""
    related: float
    """Between a request and its rewording."""

    def rescale(self, cosine: float) -> float:
        """Return the cosine that the reference model would be expected to give."""
        spread = self.related - self.unrelated
        if spread < _LEAST_SPREAD:
            return cosine
        share = (cosine - self.unrelated) / spread
        return min(1.0, REFERENCE.unrelated + share * (REFERENCE.related - REFERENCE.unrelated))


REFERENCE = Calibration(unrelated=0.0658, related=0.7852)
"""Measured with all-MiniLM-L6-v2, the model that the thresholds were chosen with."""


def calibrate(embedder: Embedder) -> Calibration:
    """Measure a model on the requests in `data/calibration.toml`."""
    pairs = tomllib.loads(resources.files("core.knowledge").joinpath("data", "calibration.toml").read_text("utf-8"))[
        "pairs"
    ]
    requests, rewordings = (embedder.embed([pair[side] for pair in pairs]) for side in (0, 1))
    cosines = requests @ rewordings.T
    same = np.eye(len(pairs), dtype=bool)
    return Calibration(unrelated=float(cosines[~same].mean()), related=float(cosines[same].mean()))
