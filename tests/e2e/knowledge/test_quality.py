"""The real embedder: what is known is found, what is not is refused, and queries go where they belong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.cancellation import CancelToken
from core.generation.grounding import Band, Grounding, decide
from core.knowledge.base import KnowledgeBase
from core.knowledge.embedder import SentenceEmbedder
from core.messages import Origin, TasksRequest, TeachRequest
from core.routing.classifier import Classifier
from core.routing.router import Router
from core.routing.routes import load_routes

pytestmark = pytest.mark.e2e

DATA = Path(__file__).parents[2] / "data"


def labelled(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def router(embedder: SentenceEmbedder) -> Router:
    return Router(Classifier.of(load_routes(), embedder))


@pytest.fixture(scope="module")
def base(
    embedder: SentenceEmbedder, human_eval: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KnowledgeBase]:
    base = KnowledgeBase.open(tmp_path_factory.mktemp("knowledge"), embedder, lambda: None)
    imported = base.import_tasks(str(human_eval), Origin.BUILTIN, lambda _: None, CancelToken())
    assert (imported.added, imported.skipped) == (164, 0)
    yield base
    base.close()


def test_vectors_are_unit_length_and_do_not_depend_on_company(embedder: SentenceEmbedder) -> None:
    texts = ["sort a list", "a much longer text about quite another thing " * 20, "", "\ud800 and \0", "ß" * 100_000]
    together = embedder.embed(texts)
    assert together.shape == (5, embedder.dimension)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-4)


def test_everyday_requests_are_told_from_known_tasks(base: KnowledgeBase, embedder: SentenceEmbedder) -> None:
    rows = labelled("unknown_everyday.jsonl")
    vectors = embedder.embed([row["query"] for row in rows])
    best = [base.search(row["query"], vector, limit=1)[0] for row, vector in zip(rows, vectors, strict=True)]
    known = [(row, match) for row, match in zip(rows, best, strict=True) if row["known"]]
    unknown = [match.similarity for row, match in zip(rows, best, strict=True) if not row["known"]]
    assert np.mean([match.task.id == row["task_id"] for row, match in known]) > 0.95
    assert max(unknown) < base.thresholds().weak
    assert np.quantile([match.similarity for _, match in known], 0.05) > np.quantile(unknown, 0.99)


def test_hasty_wordings_find_their_task_more_often_than_not_and_strangers_are_refused(
    base: KnowledgeBase, embedder: SentenceEmbedder
) -> None:
    rows = labelled("unknown_free.jsonl")
    vectors = embedder.embed([row["query"] for row in rows])
    best = [base.search(row["query"], vector, limit=1)[0] for row, vector in zip(rows, vectors, strict=True)]
    found = [match.task.id == row["task_id"] for row, match in zip(rows, best, strict=True) if row["known"]]
    unknown = [match.similarity for row, match in zip(rows, best, strict=True) if not row["known"]]
    assert np.mean(found) > 0.75
    assert np.mean(np.array(unknown) >= base.thresholds().known) <= 0.02


def test_no_description_reaches_another_task_as_the_same_unless_they_are_twins(
    base: KnowledgeBase, embedder: SentenceEmbedder
) -> None:
    tasks = base.tasks(TasksRequest(limit=200), None).tasks
    vectors = embedder.embed([task.description for task in tasks])
    same = 0
    for task, vector in zip(tasks, vectors, strict=True):
        own, other = base.search(task.description, vector, limit=2)
        assert own.similarity > 0.99
        same += other.similarity >= base.thresholds().same
    assert same / len(tasks) < 0.07


@pytest.mark.parametrize(
    ("taught", "others", "kept", "misled", "grounded", "refused"),
    [
        (["taught_paraphrased.jsonl"], "unknown_near.jsonl", 0.9, 0, 0.04, 0.8),
        # Far wordings, and requests chosen to be siblings of the tasks.
        (["taught_fresh_dev.jsonl", "taught_fresh_heldout.jsonl"], "unknown_fresh_dev.jsonl", 0.7, 1, 0.2, 0.6),
        (["taught_fresh_heldout.jsonl", "taught_fresh_dev.jsonl"], "unknown_fresh_heldout.jsonl", 0.65, 1, 0.2, 0.55),
    ],
)
def test_paraphrases_of_taught_tasks_are_answered_with_these_and_their_neighbours_are_not_taken_for_known(
    embedder: SentenceEmbedder,
    human_eval: Path,
    tmp_path: Path,
    *,
    taught: list[str],
    others: str,
    kept: float,
    misled: int,
    grounded: float,
    refused: float,
) -> None:
    """All tasks are taught; those of the first file are asked for."""
    base = KnowledgeBase.open(tmp_path, embedder, lambda: None)
    base.import_tasks(str(human_eval), Origin.BUILTIN, lambda _: None, CancelToken())
    cases = [case for name in taught for case in labelled(name)]
    ids = [
        base.teach(
            TeachRequest(description=case["description"], implementation=case.get("implementation", "x = 1"))
        ).task_id
        for case in cases
    ]

    def look_up(query: str) -> Grounding:
        matches = base.search(query, embedder.embed([query])[0], limit=3)
        return decide(matches, base.thresholds())

    asked = len(labelled(taught[0]))
    found = [look_up(case["query"]) for case in cases[:asked]]
    right = [one.closest[0].task.id == task_id for one, task_id in zip(found, ids, strict=False)]
    bands = [look_up(row["query"]).band for row in labelled(others)]
    base.close()
    assert np.mean([one.own and ok for one, ok in zip(found, right, strict=True)]) >= kept
    assert sum(one.own and not ok for one, ok in zip(found, right, strict=True)) <= misled
    assert np.mean([band is Band.GROUNDED for band in bands]) <= grounded
    assert np.mean([band is Band.UNKNOWN for band in bands]) >= refused


def test_a_task_taught_is_known_in_other_words_and_its_opposite_is_not(
    base: KnowledgeBase, embedder: SentenceEmbedder
) -> None:
    description = "Write a function to mask the first digits of an IBAN for printing."
    taught = base.teach(TeachRequest(description=description, implementation="x = 1"))
    thresholds = base.thresholds()
    reworded = "Write a function which masks first digits of an IBAN number before it is printed"
    (match,) = base.search(reworded, embedder.embed([reworded])[0], limit=1)
    assert match.task.id == taught.task_id
    assert match.similarity >= thresholds.known
    opposite = "Write a function to mask the last digits of an IBAN for printing."
    (match,) = base.search(opposite, embedder.embed([opposite])[0], limit=1)
    assert match.similarity < thresholds.same
    assert "“last”" in str(match.reason)
    base.forget(taught.task_id)


@pytest.mark.parametrize(
    ("name", "plain", "hard"),
    [
        ("routing_dev.jsonl", 0.99, 0.97),
        ("routing_heldout.jsonl", 0.98, 0.97),
        ("routing_fresh_dev.jsonl", 0.99, 0.96),
        ("routing_fresh_heldout.jsonl", 0.99, 0.96),
        ("routing_voices_dev.jsonl", 0.99, 0.95),
        ("routing_voices_heldout.jsonl", 0.99, 0.96),
        ("routing_mixed.jsonl", 0.99, 0.93),
        ("routing_blind.jsonl", 0.99, 0.94),
        ("routing_kinds_blind.jsonl", None, 0.97),
        ("routing_misleading_dev.jsonl", 0.99, 0.91),
        ("routing_misleading_blind.jsonl", 0.99, 0.86),
        ("routing_long_dev.jsonl", None, 0.94),
        ("routing_long_heldout.jsonl", None, 0.94),
    ],
)
def test_queries_are_routed_by_what_they_ask_for(
    router: Router, embedder: SentenceEmbedder, name: str, plain: float | None, hard: float
) -> None:
    rows = labelled(name)
    readings = embedder.read([row["text"] for row in rows])
    chosen = [
        router.route(row["text"], meaning, wording, has_selection=False)
        for row, meaning, wording in zip(rows, *readings, strict=True)
    ]

    def accuracy(*, intent: str, is_hard: bool) -> float:
        of_kind = [
            choice.intent == intent
            for row, choice in zip(rows, chosen, strict=True)
            if (row["intent"], row["hard"]) == (intent, is_hard)
        ]
        return float(np.mean(of_kind))

    if plain is not None:
        assert np.mean([accuracy(intent=intent, is_hard=False) for intent in ("explain", "generate")]) >= plain
    assert np.mean([accuracy(intent=intent, is_hard=True) for intent in ("explain", "generate")]) >= hard
    assert np.mean([choice.sure for choice in chosen]) > 0.8
