from __future__ import annotations

import numpy as np
from fakes.word_embedder import WordEmbedder

from core.messages import Intent, RouteChoice
from core.routing.classifier import Classifier
from core.routing.feedback import Feedback, Overrule
from core.routing.router import Router
from core.routing.routes import Route

ROUTES = [
    Route(intent=Intent.EXPLAIN, utterances=("what is a list", "why does it sort")),
    Route(intent=Intent.GENERATE, utterances=("make a list", "sort it")),
]
EMBEDDER = WordEmbedder()


def chosen(query: str, intent: Intent) -> Overrule:
    return Overrule(query=query, intent=intent, vector=EMBEDDER.embed([query])[0])


def route(query: str, *overrules: Overrule) -> RouteChoice:
    meaning, wording = (one[0] for one in EMBEDDER.read([query]))
    router = Router(Classifier.of(ROUTES, EMBEDDER))
    return router.route(query, meaning, wording, has_selection=False, feedback=Feedback(overrules))


def test_a_choice_decides_for_the_same_query_whatever_speaks_against_it() -> None:
    query = "# write the list so that all of it is sorted once more from the start to the end"
    assert route(query).intent is Intent.GENERATE
    choice = route(query, chosen(query, Intent.EXPLAIN))
    assert (choice.intent, choice.sure) == (Intent.EXPLAIN, True)
    assert query in str(choice.reason)
    assert all(0 <= score <= 1 for score in choice.scores.values())


def test_a_choice_decides_for_nearly_the_same_query() -> None:
    learnt = chosen("sort the list of all my old friends now", Intent.EXPLAIN)
    assert route("sort the list of all my old friends", learnt).intent is Intent.EXPLAIN


def test_a_choice_says_nothing_about_other_queries() -> None:
    learnt = chosen("sort it", Intent.EXPLAIN)
    assert route("make a list of the primes", learnt) == route("make a list of the primes")


def test_a_choice_says_nothing_about_a_query_of_another_form() -> None:
    learnt = chosen("explain the function that sorts all of my numbers and words", Intent.GENERATE)
    query = "write the function that sorts all of my numbers and words"
    same = Feedback([Overrule(query=learnt.query, intent=learnt.intent, vector=EMBEDDER.embed([query])[0])])
    assert same.nearest(query, EMBEDDER.embed([query])[0]) is None


def test_of_equally_near_choices_the_latest_holds() -> None:
    vector = np.array([1, 0], np.float32)
    first, second = (Overrule(query="sort it", intent=intent, vector=vector) for intent in Intent)
    assert Feedback([first, second]).nearest("sort it", vector) is second
    assert Feedback([second, first]).nearest("sort it", vector) is first
