"""Which intent a query has: decided by cosine similarity of sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.knowledge.embedder import Embedder, Vectors
from core.messages import Intent, RouteChoice
from core.routing.routes import Route

_SURE = 0.05


class Router:
    """Compares a query with the utterances of each route. Deterministic."""

    def __init__(self, embedder: Embedder, routes: Sequence[Route]) -> None:
        vectors = {route.intent: embedder.embed(route.utterances) for route in routes}
        self._centroids = {intent: _unit(rows.mean(axis=0)) for intent, rows in vectors.items()}

    def route(self, query: str, vector: Vectors, *, has_selection: bool) -> RouteChoice:
        """Return the intent whose utterances are nearest.

        Args:
            query: The words of the query.
            vector: Its embedding: shape (dimension,), unit length.
            has_selection: Whether code is selected in the editor.
        """
        scores = {intent: float(centroid @ vector) for intent, centroid in self._centroids.items()}
        winner = max(Intent, key=lambda intent: scores[intent])
        margin = scores[winner] - min(scores.values())
        return RouteChoice(
            intent=winner,
            scores={intent.value: round(score, 4) for intent, score in scores.items()},
            margin=round(margin, 4),
            sure=margin >= _SURE,
        )


def _unit(vector: Vectors) -> Vectors:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
