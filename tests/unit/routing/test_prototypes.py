from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.word_embedder import WordEmbedder

from core.messages import Intent
from core.routing.prototypes import Prototypes, load_prototypes
from core.routing.routes import Route

TOPICS = ("lists", "tuples", "classes", "loops", "files", "dates", "threads", "tests")
ROUTES = [
    Route(intent=Intent.EXPLAIN, utterances=tuple(f"why {topic}" for topic in TOPICS)),
    Route(intent=Intent.GENERATE, utterances=tuple(f"write {topic}" for topic in TOPICS)),
]


def cosines(prototypes: Prototypes, embedder: WordEmbedder, text: str) -> dict[Intent, float]:
    return prototypes.cosines(embedder.embed([text])[0])


def test_a_topic_of_one_route_does_not_make_a_query_its() -> None:
    embedder = WordEmbedder()
    topical = [
        replace(ROUTES[0], utterances=(*ROUTES[0].utterances, *["why sockets"] * 3)),
        replace(ROUTES[1], utterances=(*ROUTES[1].utterances, *["write forms"] * 3)),
    ]
    found = cosines(Prototypes.of(topical, embedder), embedder, "write sockets sockets")
    assert found[Intent.GENERATE] > found[Intent.EXPLAIN]
    vector = embedder.embed(["write sockets sockets"])[0]
    plain = {route.intent: float(embedder.embed(route.utterances).mean(axis=0) @ vector) for route in topical}
    assert plain[Intent.GENERATE] < plain[Intent.EXPLAIN]  # what a mean alone says


def test_one_utterance_a_route_will_do() -> None:
    embedder = WordEmbedder()
    single = [replace(route, utterances=route.utterances[:1]) for route in ROUTES]
    found = cosines(Prototypes.of(single, embedder), embedder, "why lists")
    assert found[Intent.EXPLAIN] == pytest.approx(1, abs=1e-3)
    assert found[Intent.GENERATE] < 1


def test_utterances_are_embedded_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "routes.npz"
    first = load_prototypes(WordEmbedder(), ROUTES, cache)
    later = WordEmbedder()
    again = load_prototypes(later, ROUTES, cache)
    assert later.embedded == []
    assert np.array_equal(again.whitening, first.whitening)
    assert all(np.array_equal(again.means[intent], first.means[intent]) for intent in Intent)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", None])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    cache = tmp_path / "routes.npz"
    first = load_prototypes(WordEmbedder(), ROUTES, cache)
    cache.write_bytes(cache.read_bytes()[:-200] if content is None else content)
    assert np.array_equal(load_prototypes(WordEmbedder(), ROUTES, cache).whitening, first.whitening)
    kept = WordEmbedder()
    load_prototypes(kept, ROUTES, cache)
    assert kept.embedded == []


def test_other_utterances_and_another_embedder_are_embedded(tmp_path: Path) -> None:
    cache = tmp_path / "routes.npz"
    load_prototypes(WordEmbedder(), ROUTES, cache)
    other = WordEmbedder("words-2")
    load_prototypes(other, ROUTES, cache)
    assert other.embedded
    more = [replace(ROUTES[0], utterances=(*ROUTES[0].utterances, "why me")), ROUTES[1]]
    again = WordEmbedder("words-2")
    load_prototypes(again, more, cache)
    assert "why me" in again.embedded


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be", "utf-8")
    assert load_prototypes(WordEmbedder(), ROUTES, tmp_path / "cache" / "routes.npz").means
