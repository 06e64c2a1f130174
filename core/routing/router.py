"""Which intent a query has: decided by the cosines of its embedding with what people say, and its form.

A query is compared with the utterances of both routes by how it is worded, not by what it is about
(see `core.knowledge.wording`). Its form, a question, a command or a comment, speaks for itself. No
language model is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.knowledge.embedder import Vectors
from core.messages import Intent, RouteChoice
from core.routing.classifier import Classifier
from core.routing.feedback import Feedback, Overrule
from core.routing.form import Form, read_form

_SURE = 0.6
"""Margin from which the person need not be asked."""
_STEEPNESS = 5.0
"""How fast a query becomes probable to have an intent with what speaks for it."""

# What an observation says for an intent. What the utterances say is mostly between 0 and 1.
_ORDER = {Intent.EXPLAIN: 0.5, Intent.GENERATE: 0.3}
_QUESTION = 0.12
_QUESTION_MARK = 0.23
_STATEMENT = 0.2
_SHORT = 20
"""Words of a text in which somebody who speaks of themselves hardly tells what they do not understand."""
_COMMENT_MARK = 0.5
_SELECTION = 0.05
_CHOSEN = 4.0
"""More than everything else: a person has chosen for nearly the same query."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """An observation that speaks for an intent."""

    intent: Intent
    weight: float
    words: str


class Router:
    """Compares a query with what people say on each route. Deterministic."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def route(
        self,
        query: str,
        meaning: Vectors,
        wording: Vectors,
        *,
        has_selection: bool,
        feedback: Feedback | None = None,
    ) -> RouteChoice:
        """Return the more probable intent; scores are how probable each is.

        Args:
            query: The words of the query.
            meaning: What it is about, as the embedder reads it: shape (dimension,).
            wording: How it is worded: shape (another dimension,).
            has_selection: Whether code is selected in the editor.
            feedback: What a person has chosen for earlier queries.
        """
        evidence = [self._compare(wording), *_weigh(read_form(query), has_selection=has_selection)]
        chosen = feedback.nearest(query, meaning) if feedback is not None else None
        if chosen is not None:
            evidence.append(_recall(chosen))
        lead = _sum(evidence, Intent.GENERATE) - _sum(evidence, Intent.EXPLAIN)
        code = 1 / (1 + math.exp(-_STEEPNESS * lead))
        margin = abs(2 * code - 1)
        winner = Intent.GENERATE if lead > 0 else Intent.EXPLAIN
        return RouteChoice(
            intent=winner,
            scores={Intent.EXPLAIN.value: round(1 - code, 4), Intent.GENERATE.value: round(code, 4)},
            margin=round(margin, 4),
            sure=margin >= _SURE,
            reason=_reason(winner, evidence),
        )

    def _compare(self, wording: Vectors) -> _Evidence:
        lean, utterance = self._classifier.compare(wording)
        intent = Intent.GENERATE if lean > 0 else Intent.EXPLAIN
        return _Evidence(intent, abs(lean), f"it is worded as is said for it, above all “{utterance}”")


def _weigh(form: Form, *, has_selection: bool) -> list[_Evidence]:
    """Return what the form says.

    1. The mark of a comment is a request for code, also when the comment is worded as a question.
    2. The first words tell an order, or less surely a question; a question mark makes a question surer.
    3. What has neither an opener of a question nor its mark states what code should do, unless somebody tells a
       longer story of their own.
    """
    found = []
    if form.comment:
        found.append(_Evidence(Intent.GENERATE, _COMMENT_MARK, "it is a comment"))
    if form.intent is not None and not (form.comment and form.intent is Intent.EXPLAIN):
        weight = _ORDER[form.intent] if form.order else _QUESTION
        found.append(_Evidence(form.intent, weight, f"it begins with “{form.opener}”"))
    if form.question:
        found.append(_Evidence(Intent.EXPLAIN, _QUESTION_MARK, "it ends with a question mark"))
    elif _states_a_task(form):
        found.append(_Evidence(Intent.GENERATE, _STATEMENT, "it is no question"))
    if has_selection:
        found.append(_Evidence(Intent.EXPLAIN, _SELECTION, "code is selected"))
    return found


def _states_a_task(form: Form) -> bool:
    """Whether a text without a question mark says what code should do."""
    asks = form.intent is Intent.EXPLAIN and not form.comment
    return not asks and (form.words <= _SHORT or not form.personal)


def _recall(chosen: Overrule) -> _Evidence:
    return _Evidence(chosen.intent, _CHOSEN, f"you have chosen {chosen.intent.value} for “{chosen.query}”")


def _sum(evidence: Sequence[_Evidence], intent: Intent) -> float:
    return sum(one.weight for one in evidence if one.intent is intent)


def _reason(winner: Intent, evidence: Sequence[_Evidence]) -> str:
    speaking = [f"{one.words} ({one.intent.value} {one.weight:+.2f})" for one in evidence]
    return "; ".join([f"taken as {winner.value}", *speaking])
