"""What people have said about wrong routes: it decides again for queries that are nearly the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.knowledge.embedder import Vectors
from core.messages import Intent
from core.routing.form import read_form

NEARLY_THE_SAME = 0.9
"""Cosine from which a choice holds for another query, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrule:
    """A query for which a person has chosen the intent."""

    query: str
    intent: Intent
    vector: Vectors
    """The query's embedding: shape (dimension,), unit length."""


class Feedback:
    """All choices, the latest last."""

    def __init__(self, overrules: Sequence[Overrule] = ()) -> None:
        self.overrules = tuple(overrules)
        self._vectors = np.stack([one.vector for one in overrules]) if overrules else None

    def nearest(self, query: str, vector: Vectors) -> Overrule | None:
        """Return the choice that holds for a query: the nearest, and of equally near ones the latest.

        "Explain the function that sorts" is near to "write a function that sorts", so a
        choice only holds for queries of the same form.
        """
        if self._vectors is None:
            return None
        cosines = self._vectors @ vector
        for number in sorted(np.flatnonzero(cosines >= NEARLY_THE_SAME), key=lambda i: (-cosines[i], -i)):
            overrule = self.overrules[number]
            if _form(overrule.query) == _form(query):
                return overrule
        return None


def _form(query: str) -> tuple[Intent | None, bool, bool]:
    form = read_form(query)
    return form.intent, form.question, form.comment
