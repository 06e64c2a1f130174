"""What the utterances of a route have in common, seen from where their topics do not show.

Utterances of one route differ among themselves by their topics, and those of two routes by their
intent. Directions of the embedding in which utterances of the same route differ much are therefore
shortened before anything is compared, as linear discriminant analysis does (Fisher 1936); the
estimate of how much they differ is shrunk, since there are not many more utterances than directions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from core.knowledge.embedder import Embedder, Vectors
from core.messages import Intent
from core.routing.routes import Route

log = logging.getLogger(__name__)

_SHRINKING = 1.0
"""Mean variance of a direction that is added to that of each."""
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Prototypes:
    """A mean utterance per route, and the directions in which routes are compared."""

    whitening: Vectors
    """Shape (dimension, dimension)."""
    means: Mapping[Intent, Vectors]
    """Whitened, of unit length: shape (dimension,) each."""

    @classmethod
    def of(cls, routes: Sequence[Route], embedder: Embedder) -> Prototypes:
        """Embed the utterances of routes and return what they come to."""
        vectors = {route.intent: embedder.embed(route.utterances) for route in routes}
        means = {intent: some.mean(axis=0) for intent, some in vectors.items()}
        rest = np.concatenate([some - means[intent] for intent, some in vectors.items()]).astype(np.float64)
        scatter = rest.T @ rest / len(rest)
        mean_variance = max(float(np.trace(scatter)) / len(scatter), _LEAST_VARIANCE)
        variances, directions = np.linalg.eigh(scatter + _SHRINKING * mean_variance * np.eye(len(scatter)))
        whitening = (directions / np.sqrt(variances) @ directions.T).astype(np.float32)
        return cls(whitening=whitening, means={intent: _unit(mean @ whitening) for intent, mean in means.items()})

    def cosines(self, vector: Vectors) -> dict[Intent, float]:
        """Return how alike a text and each route are; `vector` is its embedding, shape (dimension,)."""
        whitened = _unit(vector @ self.whitening)
        return {intent: float(mean @ whitened) for intent, mean in self.means.items()}


def load_prototypes(embedder: Embedder, routes: Sequence[Route], cache: Path) -> Prototypes:
    """Return the prototypes of routes, which takes seconds if `cache` does not have them yet.

    The file is of no value: it is made anew where it is missing, of other routes or another
    embedder, or damaged.
    """
    key = _key(embedder, routes)
    found = _read(cache, key)
    if found is None:
        found = Prototypes.of(routes, embedder)
        try:
            _write(cache, key, found)
        except OSError as error:
            log.warning("the routes will be embedded again next time: %s", error)
    return found


def _key(embedder: Embedder, routes: Sequence[Route]) -> str:
    said = [embedder.fingerprint, _SHRINKING, *([route.intent.value, *route.utterances] for route in routes)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _read(cache: Path, key: str) -> Prototypes | None:
    try:
        with np.load(cache) as stored:
            if str(stored["key"]) != key:
                return None
            means = dict(zip(Intent, stored["means"], strict=True))
            return Prototypes(whitening=stored["whitening"], means=means)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _write(cache: Path, key: str, prototypes: Prototypes) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    means = np.stack([prototypes.means[intent] for intent in Intent])
    # In a folder of its own, which goes whatever happens: no half-written file is left on a full disk.
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        made = Path(folder) / cache.name
        np.savez(made, key=np.array(key), whitening=prototypes.whitening, means=means)
        made.replace(cache)


def _unit(vector: Vectors) -> Vectors:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
