"""Which intent a query has: decided by the similarity of sentence embeddings and the form of the sentence.

A query is compared, by cosine, with the mean of each route's utterances. Since both routes
speak of the same topics, what is left of the difference is the intent. Form settles what
meaning cannot: "explain the function that sorts" and "write a function that sorts" are nearly
the same to a sentence embedding, and their first words are not. No language model is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.knowledge.embedder import Embedder, Vectors
from core.messages import Intent, RouteChoice
from core.routing.feedback import Feedback, Overrule
from core.routing.form import Form, read_form
from core.routing.routes import Route

_SURE = 0.08
"""Margin from which the person need not be asked."""

# What each observation adds to the score of the intent it speaks for. Differences of cosines
# between the routes are mostly between 0.05 and 0.25.
_OPENER = 0.18
_ACTION = 0.05
_QUESTION_MARK = 0.05
_QUESTION = 0.06
"""Speaks for an explanation if words and mark agree that something is asked, beside what either says alone."""
_COMMENT_MARK = 0.10
_STATEMENT_SHORT, _STATEMENT_LONG = 0.06, 0.15
_SHORT, _LONG = 6, 15
"""Words. A short command may ask for anything, but nobody wants a paragraph without a question explained."""
_SELECTION = 0.05
_CHOSEN = 0.5
"""Speaks for what a person has chosen for nearly the same query, and as much against the other."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """An observation that speaks for an intent."""

    intent: Intent
    weight: float
    words: str


class Router:
    """Compares a query with what people say on each route. Deterministic."""

    def __init__(self, embedder: Embedder, routes: Sequence[Route]) -> None:
        means = {route.intent: embedder.embed(route.utterances).mean(axis=0) for route in routes}
        self._prototypes = {intent: _unit(mean) for intent, mean in means.items()}

    def route(
        self, query: str, vector: Vectors, *, has_selection: bool, feedback: Feedback | None = None
    ) -> RouteChoice:
        """Return the intent with the higher score; scores are cosines plus what the form adds.

        Args:
            query: The words of the query.
            vector: Its embedding: shape (dimension,), unit length.
            has_selection: Whether code is selected in the editor.
            feedback: What a person has chosen for earlier queries.
        """
        evidence = _weigh(read_form(query), has_selection=has_selection)
        chosen = feedback.nearest(query, vector) if feedback is not None else None
        if chosen is not None:
            evidence += _recall(chosen)
        cosines = {intent: float(prototype @ vector) for intent, prototype in self._prototypes.items()}
        scores = {intent: _clamp(cosines[intent] + _sum(evidence, intent)) for intent in Intent}
        winner, other = sorted(Intent, key=lambda intent: -scores[intent])
        margin = scores[winner] - scores[other]
        return RouteChoice(
            intent=winner,
            scores={intent.value: round(scores[intent], 4) for intent in Intent},
            margin=round(margin, 4),
            sure=margin >= _SURE,
            reason=_reason(winner, cosines, evidence),
        )


def _weigh(form: Form, *, has_selection: bool) -> list[_Evidence]:
    """Return what the form says.

    1. The mark of a comment is a request for code, also when the comment is worded as a question.
    2. The first words tell a question from a command; a question mark makes a question surer.
    3. A verb that tells code what to do is a weaker sign of a command.
    4. What is neither, and has no question mark, states what code should do.
    """
    found = []
    if form.comment:
        found.append(_Evidence(Intent.GENERATE, _COMMENT_MARK, "it is a comment"))
    if form.intent is not None and not (form.comment and form.intent is Intent.EXPLAIN):
        found.append(_Evidence(form.intent, _OPENER, f"it begins with “{form.opener}”"))
    if form.action and not form.question:
        found.append(_Evidence(Intent.GENERATE, _ACTION, "it tells what code is to do"))
    if form.question and form.intent is Intent.EXPLAIN and not form.comment:
        found.append(_Evidence(Intent.EXPLAIN, _QUESTION, "it is worded as a question"))
    if form.question:
        found.append(_Evidence(Intent.EXPLAIN, _QUESTION_MARK, "it ends with a question mark"))
    if not form.question and (form.comment or form.intent is not Intent.EXPLAIN):
        found.append(_Evidence(Intent.GENERATE, _statement_weight(form.words), "it is no question"))
    if has_selection:
        found.append(_Evidence(Intent.EXPLAIN, _SELECTION, "code is selected"))
    return found


def _recall(chosen: Overrule) -> list[_Evidence]:
    words = f"you have chosen {chosen.intent.value} for “{chosen.query}”"
    return [_Evidence(intent, _CHOSEN if intent is chosen.intent else -_CHOSEN, words) for intent in Intent]


def _statement_weight(words: int) -> float:
    length = min(1.0, max(0.0, (words - _SHORT) / (_LONG - _SHORT)))
    return _STATEMENT_SHORT + length * (_STATEMENT_LONG - _STATEMENT_SHORT)


def _sum(evidence: Sequence[_Evidence], intent: Intent) -> float:
    return sum(one.weight for one in evidence if one.intent is intent)


def _reason(winner: Intent, cosines: dict[Intent, float], evidence: Sequence[_Evidence]) -> str:
    compared = ", ".join(f"{intent.value} {cosine:.2f}" for intent, cosine in cosines.items())
    speaking = [f"{one.words} ({one.intent.value} {one.weight:+.2f})" for one in evidence]
    return "; ".join([f"taken as {winner.value}: meaning {compared}", *speaking])


def _clamp(score: float) -> float:
    return min(1.0, max(-1.0, score))


def _unit(vector: Vectors) -> Vectors:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
