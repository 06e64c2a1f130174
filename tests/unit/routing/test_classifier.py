from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.word_embedder import WordEmbedder

from core.messages import Intent
from core.routing.classifier import Classifier, load_classifier
from core.routing.routes import Route

TOPICS = ("lists", "tuples", "classes", "loops", "files", "dates", "threads", "tests")
ROUTES = [
    Route(intent=Intent.EXPLAIN, utterances=tuple(f"why {topic}" for topic in TOPICS)),
    Route(intent=Intent.GENERATE, utterances=tuple(f"write {topic}" for topic in TOPICS)),
]


def lean(routes: list[Route], text: str) -> float:
    embedder = WordEmbedder()
    return Classifier.of(routes, embedder).compare(embedder.read([text]).wording[0]).lean


def same(one: Classifier, other: Classifier) -> bool:
    return (
        one.utterances == other.utterances
        and np.array_equal(one.wordings, other.wordings)
        and np.array_equal(one.weights, other.weights)
    )


def test_a_query_leans_to_what_is_worded_like_it() -> None:
    assert lean(ROUTES, "why sockets") < -0.3
    assert lean(ROUTES, "write sockets") > 0.3


def test_a_topic_that_only_one_route_speaks_of_says_little() -> None:
    topical = [replace(ROUTES[0], utterances=(*ROUTES[0].utterances, "why sockets", "why are sockets")), ROUTES[1]]
    assert lean(topical, "write sockets") > 0


def test_utterances_keep_their_own_intents_and_how_many_a_route_has_says_nothing() -> None:
    uneven = [replace(ROUTES[0], utterances=ROUTES[0].utterances[:1]), ROUTES[1]]
    assert lean(uneven, "why lists") < -0.6
    assert lean(uneven, "write tuples") > 0.6
    assert abs(lean(uneven, "quite another thing altogether")) < 0.3


def test_the_utterance_that_says_most_for_it_is_told() -> None:
    embedder = WordEmbedder()
    classifier = Classifier.of([*ROUTES, Route(intent=Intent.EXPLAIN, utterances=("write why",))], embedder)
    assert classifier.compare(embedder.read(["write dates"]).wording[0]).utterance == "write dates"
    assert classifier.compare(embedder.read(["why write"]).wording[0]).utterance == "write why"


def test_utterances_are_embedded_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "routes.npz"
    first = load_classifier(WordEmbedder(), ROUTES, cache)
    later = WordEmbedder()
    again = load_classifier(later, ROUTES, cache)
    assert later.embedded == []
    assert same(again, first)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", None])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    cache = tmp_path / "routes.npz"
    first = load_classifier(WordEmbedder(), ROUTES, cache)
    cache.write_bytes(cache.read_bytes()[:-200] if content is None else content)
    assert same(load_classifier(WordEmbedder(), ROUTES, cache), first)
    kept = WordEmbedder()
    load_classifier(kept, ROUTES, cache)
    assert kept.embedded == []


def test_another_embedder_embeds_anew(tmp_path: Path) -> None:
    cache = tmp_path / "routes.npz"
    load_classifier(WordEmbedder(), ROUTES, cache)
    other = WordEmbedder("words-2")
    load_classifier(other, ROUTES, cache)
    assert other.embedded


def test_of_more_routes_only_what_is_new_is_embedded(tmp_path: Path) -> None:
    cache = tmp_path / "routes.npz"
    load_classifier(WordEmbedder(), ROUTES, cache)
    more = [replace(ROUTES[0], utterances=("why me", *ROUTES[0].utterances)), ROUTES[1]]
    later = WordEmbedder()
    found = load_classifier(later, more, cache)
    assert later.embedded == ["why me"]
    assert same(found, Classifier.of(more, WordEmbedder()))


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be", "utf-8")
    assert load_classifier(WordEmbedder(), ROUTES, tmp_path / "cache" / "routes.npz").utterances
