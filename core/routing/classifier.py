"""What people said who had an intent, and what that says about the intent of others.

Kernel ridge regression (Saunders et al. 1998) of the intent on the wording of utterances: each
utterance has a weight, speaks for or against an intent of a query that is worded like it, the more
the greater their cosine, and all weights together give the utterances their own intents back, nearly.
An utterance that the others tell already has a small weight, and one that none is like a large one.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from core.knowledge.embedder import Embedder, Vectors
from core.messages import Intent
from core.routing.routes import Route

log = logging.getLogger(__name__)

_NARROWNESS = 3.0
"""How fast an utterance says less about those that are less like it; e to the power of minus this at a cosine of 0."""
_RIDGE = 0.1
"""How far an utterance may be from its own intent, as a share of what it says about itself."""
_STORED = np.float16


class Leaning(NamedTuple):
    """What utterances say about a query."""

    lean: float
    """Mostly between -1, an explanation, and 1, code."""
    utterance: str
    """The one that says most for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """Utterances and how much each of them says. Deterministic."""

    utterances: tuple[str, ...]
    wordings: Vectors
    """How each is worded: shape (utterances, dimension), of unit length within the precision that is stored."""
    weights: Vectors
    """What each says: shape (utterances,). Positive speaks for code, negative for an explanation."""

    @classmethod
    def of(cls, routes: Sequence[Route], embedder: Embedder) -> Classifier:
        """Embed the utterances of routes and weigh them."""
        return cls.fit(routes, _embed(_utterances(routes), embedder))

    @classmethod
    def fit(cls, routes: Sequence[Route], wordings: Vectors) -> Classifier:
        """Weigh the utterances of routes, whose wordings are given in their order: shape (utterances, dimension)."""
        intents = [_SIGNS[route.intent] for route in routes for _ in route.utterances]
        alike = _alike(wordings @ wordings.T).astype(np.float64)
        weights = np.linalg.solve(alike + _RIDGE * np.eye(len(alike)), np.array(intents))
        return cls(utterances=_utterances(routes), wordings=wordings, weights=weights.astype(np.float32))

    def compare(self, wording: Vectors) -> Leaning:
        """Return what all utterances say about a query.

        Args:
            wording: How it is worded: shape (dimension,).
        """
        said = _alike(self.wordings @ wording) * self.weights
        lean = float(said.sum())
        return Leaning(lean, self.utterances[int(np.argmax(said * np.sign(lean)))])


_SIGNS = {Intent.EXPLAIN: -1.0, Intent.GENERATE: 1.0}


def load_classifier(embedder: Embedder, routes: Sequence[Route], cache: Path) -> Classifier:
    """Return the classifier of routes, embedding those utterances that `cache` does not have yet: all take seconds.

    The file is of no value: it is made anew where it is missing, of another embedder, or damaged.
    """
    utterances = _utterances(routes)
    known = _read(cache, embedder.fingerprint)
    missing = [one for one in dict.fromkeys(utterances) if one not in known]
    if missing:
        known |= dict(zip(missing, _embed(missing, embedder), strict=True))
    wordings = np.stack([known[one] for one in utterances])
    if missing:
        try:
            _write(cache, embedder.fingerprint, utterances, wordings)
        except OSError as error:
            log.warning("the routes will be embedded again next time: %s", error)
    return Classifier.fit(routes, wordings)


def _utterances(routes: Sequence[Route]) -> tuple[str, ...]:
    return tuple(utterance for route in routes for utterance in route.utterances)


def _embed(utterances: Sequence[str], embedder: Embedder) -> Vectors:
    # Rounded before anything is computed, so that what is read from a file later says the same.
    return embedder.read(utterances).wording.astype(_STORED).astype(np.float32)


def _alike(cosines: Vectors) -> Vectors:
    """Return how much utterances of these cosines say about each other: a Gaussian of their distance."""
    return np.asarray(np.exp(_NARROWNESS * (cosines - 1)), np.float32)


def _read(cache: Path, fingerprint: str) -> dict[str, Vectors]:
    try:
        with np.load(cache) as stored:
            if str(stored["fingerprint"]) != fingerprint:
                return {}
            return dict(zip(json.loads(str(stored["utterances"])), stored["wordings"].astype(np.float32), strict=True))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return {}


def _write(cache: Path, fingerprint: str, utterances: Sequence[str], wordings: Vectors) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    # In a folder of its own, which goes whatever happens: no half-written file is left on a full disk.
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        made = Path(folder) / cache.name
        np.savez_compressed(
            made,
            fingerprint=np.array(fingerprint),
            utterances=np.array(json.dumps(utterances)),
            wordings=wordings.astype(_STORED),
        )
        made.replace(cache)
