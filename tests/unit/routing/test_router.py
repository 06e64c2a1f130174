from __future__ import annotations

from pathlib import Path

import pytest
from fakes.word_embedder import WordEmbedder

from core.errors import StorageFailed
from core.messages import Intent, RouteChoice
from core.routing.classifier import Classifier
from core.routing.router import Router
from core.routing.routes import Route, load_routes

ROUTES = [
    Route(intent=Intent.EXPLAIN, utterances=("what is a list", "why does it sort")),
    Route(intent=Intent.GENERATE, utterances=("make a list", "sort it")),
]


def route(query: str, *, has_selection: bool = False) -> RouteChoice:
    return routed(ROUTES, query, has_selection=has_selection)


def routed(routes: list[Route], query: str, *, has_selection: bool = False) -> RouteChoice:
    embedder = WordEmbedder()
    meaning, wording = (one[0] for one in embedder.read([query]))
    return Router(Classifier.of(routes, embedder)).route(query, meaning, wording, has_selection=has_selection)


def test_scores_margin_and_reason_are_told() -> None:
    choice = route("why does it sort")
    assert choice.intent is Intent.EXPLAIN
    assert choice.scores["explain"] > choice.scores["generate"] > 0
    assert sum(choice.scores.values()) == pytest.approx(1)
    assert choice.margin == pytest.approx(choice.scores["explain"] - choice.scores["generate"], abs=2e-4)
    assert choice.sure
    assert "begins with “why”" in str(choice.reason)
    assert "above all “why does it sort”" in str(choice.reason)


def test_routing_is_deterministic() -> None:
    assert route("sort it somehow") == route("sort it somehow")


def test_form_decides_between_equal_topics() -> None:
    assert route("explain the function that writes the list").intent is Intent.EXPLAIN
    assert route("write the function that explains the list").intent is Intent.GENERATE
    assert route("# why is it a list").intent is Intent.GENERATE


def test_a_selection_speaks_for_an_explanation() -> None:
    plain, selected = route("this here"), route("this here", has_selection=True)
    assert selected.scores["explain"] > plain.scores["explain"]
    assert "selected" in str(selected.reason)


def test_a_narrow_margin_is_not_sure() -> None:
    alike = [Route(intent=intent, utterances=("a list",)) for intent in Intent]
    choice = routed(alike, "the list?")
    assert choice.intent is Intent.EXPLAIN
    assert 0 < choice.margin < 0.6
    assert not choice.sure


def test_both_routes_that_come_with_the_program_speak_of_the_same_topics() -> None:
    explain, generate = load_routes()
    assert (explain.intent, generate.intent) == (Intent.EXPLAIN, Intent.GENERATE)
    for topic in ("a list", "a decorator", "a generator", "a class"):
        assert any(topic in one for one in explain.utterances)
        assert any(topic in one for one in generate.utterances)


def test_a_persons_own_utterances_are_added(tmp_path: Path) -> None:
    extension = tmp_path / "routes.toml"
    extension.write_text('[[route]]\nintent = "explain"\nutterances = ["enlighten me on {thing}"]\n', "utf-8")
    explain, _ = load_routes(extension)
    assert any(one.startswith("enlighten me on a") for one in explain.utterances)
    assert load_routes(tmp_path / "missing.toml") == load_routes()


@pytest.mark.parametrize("text", ["not toml", '[[route]]\nintent = "sing"\nutterances = []', "route = 3"])
def test_a_wrong_file_of_routes_is_named(tmp_path: Path, text: str) -> None:
    extension = tmp_path / "routes.toml"
    extension.write_text(text, "utf-8")
    with pytest.raises(StorageFailed, match=r"routes\.toml"):
        load_routes(extension)
