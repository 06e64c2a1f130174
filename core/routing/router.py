"""Which intent a query has: decided by the similarity of sentence embeddings and the form of the sentence.

A query is compared, by cosine, with the mean of each route's utterances, in the directions that tell
intents apart and not topics. Form settles what meaning cannot: "explain the function that sorts" and
"write a function that sorts" are nearly the same to a sentence embedding, and their first words are
not. No language model is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.knowledge.embedder import Vectors
from core.messages import Intent, RouteChoice
from core.routing.feedback import Feedback, Overrule
from core.routing.form import Form, read_form
from core.routing.prototypes import Prototypes

_SURE = 0.06
"""Margin from which the person need not be asked."""

# What each observation adds to the score of the intent it speaks for. Differences of cosines
# between the routes are mostly between 0.05 and 0.25.
_OPENER_EXPLAIN, _OPENER_GENERATE = 0.115, 0.06
_ACTION = 0.03
_QUESTION_MARK = 0.055
_COMMENT_MARK = 0.12
_PHRASE = 0.08
_REFUSAL = 0.2
"""More than other words: who says "no explanation" is near those who want one."""
_ERROR = 0.06
_STATEMENT_SHORT, _STATEMENT_LONG = 0.03, 0.15
_SHORT, _LONG = 12, 30
"""Words. A task may take a paragraph without a question; so may what somebody does not understand, but then they
speak of themselves."""
_SELECTION = 0.03
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

    def __init__(self, prototypes: Prototypes) -> None:
        self._prototypes = prototypes

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
        cosines = self._prototypes.cosines(vector)
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
    4. What is neither, and has no question mark, states what code should do: the longer, the surer, unless it
       tells of a person.
    5. Some phrases tell wherever they stand what is wanted, or what is not, and who begins with an error wants to know its cause.
    """
    found = []
    if form.comment:
        found.append(_Evidence(Intent.GENERATE, _COMMENT_MARK, "it is a comment"))
    if form.intent is not None and not (form.comment and form.intent is Intent.EXPLAIN):
        weight = _OPENER_EXPLAIN if form.intent is Intent.EXPLAIN else _OPENER_GENERATE
        found.append(_Evidence(form.intent, weight, f"it begins with “{form.opener}”"))
    if form.action and not form.question:
        found.append(_Evidence(Intent.GENERATE, _ACTION, "it tells what code is to do"))
    if form.question:
        found.append(_Evidence(Intent.EXPLAIN, _QUESTION_MARK, "it ends with a question mark"))
    elif form.comment or form.intent is not Intent.EXPLAIN:
        found.append(_Evidence(Intent.GENERATE, _statement_weight(form), "it is no question"))
    found += [_Evidence(intent, _PHRASE, f"it says “{phrase}”") for intent, phrase in form.phrases.items()]
    found += [_Evidence(_other(intent), _REFUSAL, f"it says “{phrase}”") for intent, phrase in form.refusals.items()]
    if form.error:
        found.append(_Evidence(Intent.EXPLAIN, _ERROR, "it begins with an error"))
    if has_selection:
        found.append(_Evidence(Intent.EXPLAIN, _SELECTION, "code is selected"))
    return found


def _other(intent: Intent) -> Intent:
    return Intent.GENERATE if intent is Intent.EXPLAIN else Intent.EXPLAIN


def _recall(chosen: Overrule) -> list[_Evidence]:
    words = f"you have chosen {chosen.intent.value} for “{chosen.query}”"
    return [_Evidence(intent, _CHOSEN if intent is chosen.intent else -_CHOSEN, words) for intent in Intent]


def _statement_weight(form: Form) -> float:
    length = min(1.0, max(0.0, (form.words - _SHORT) / (_LONG - _SHORT)))
    return _STATEMENT_SHORT if form.personal else _STATEMENT_SHORT + length * (_STATEMENT_LONG - _STATEMENT_SHORT)


def _sum(evidence: Sequence[_Evidence], intent: Intent) -> float:
    return sum(one.weight for one in evidence if one.intent is intent)


def _reason(winner: Intent, cosines: dict[Intent, float], evidence: Sequence[_Evidence]) -> str:
    compared = ", ".join(f"{intent.value} {cosine:.2f}" for intent, cosine in cosines.items())
    speaking = [f"{one.words} ({one.intent.value} {one.weight:+.2f})" for one in evidence]
    return "; ".join([f"taken as {winner.value}: meaning {compared}", *speaking])


def _clamp(score: float) -> float:
    return min(1.0, max(-1.0, score))
