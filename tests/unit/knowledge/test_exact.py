from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.knowledge.embedder import Vectors
from core.knowledge.exact import Rows, VectorTable
from core.messages import Origin

DIMENSION = 8


def unit(seed: int) -> Vectors:
    vector = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def rows(
    ids: list[str], seeds: list[int], *, sequence: int = 1, language: str = "python", origin: Origin = Origin.TAUGHT
) -> Rows:
    return Rows(
        ids=ids,
        sequences=[sequence + i for i in range(len(ids))],
        languages=[language] * len(ids),
        origins=[origin] * len(ids),
        vectors=np.stack([unit(seed) for seed in seeds]) if ids else np.empty((0, DIMENSION), np.float32),
    )


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(0, 40), st.integers(1, 70))
def test_search_returns_the_best_in_order_whatever_is_stored(seeds: list[int], query: int, limit: int) -> None:
    table = VectorTable(DIMENSION)
    ids = [f"task-{i:03}" for i in range(len(seeds))]
    table.put(rows(ids, seeds))
    found = table.search(unit(query), limit)
    expected = sorted(
        ((one, float(unit(seed) @ unit(query))) for one, seed in zip(ids, seeds, strict=True)), key=lambda p: -p[1]
    )
    assert len(found) == min(limit, len(seeds))
    assert np.allclose([score for _, score in found], [score for _, score in expected[:limit]], atol=1e-5)
    assert found == sorted(found, key=lambda pair: (-pair[1], pair[0]))


@given(st.lists(st.tuples(st.sampled_from(["put", "remove"]), st.integers(0, 9), st.integers(0, 99))))
def test_table_holds_what_was_put_and_not_removed(steps: list[tuple[str, int, int]]) -> None:
    table, model = VectorTable(DIMENSION), {}
    for number, (action, key, seed) in enumerate(steps, 1):
        if action == "put":
            table.put(rows([str(key)], [seed], sequence=number))
            model[str(key)] = seed
        else:
            table.remove(str(key))
            model.pop(str(key), None)
    assert len(table) == len(model)
    assert sorted(one for one, _ in table.search(unit(0), 100)) == sorted(model)
    ids, _, vectors = table.rows(list(model))
    assert np.allclose(vectors, [unit(model[one]) for one in ids]) if ids else not model


def test_table_grows_and_keeps_what_it_had() -> None:
    table = VectorTable(DIMENSION)
    table.put(rows([f"old-{i}" for i in range(200)], list(range(200))))
    table.put(rows([f"new-{i}" for i in range(2000)], list(range(2000))))
    assert len(table) == 2200
    assert table.search(unit(7), 2)[0][1] > 0.999


def test_search_filters_by_language_and_origin() -> None:
    table = VectorTable(DIMENSION)
    table.put(rows(["a"], [1], language="python", origin=Origin.BUILTIN))
    table.put(rows(["b"], [1], language="rust", origin=Origin.TAUGHT))
    assert [one for one, _ in table.search(unit(1), 5, language="rust")] == ["b"]
    assert [one for one, _ in table.search(unit(1), 5, origin=Origin.BUILTIN)] == ["a"]
    assert table.search(unit(1), 5, language="cobol") == []


def test_changes_after_a_sequence_are_told() -> None:
    table = VectorTable(DIMENSION)
    table.put(rows(["a", "b", "c"], [1, 2, 3], sequence=1))
    assert sorted(table.newer_than(1)) == ["b", "c"]


def test_tasks_are_counted_by_language_and_origin() -> None:
    table = VectorTable(DIMENSION)
    table.put(rows(["a", "b"], [1, 2]))
    table.put(rows(["c"], [3], language="rust", origin=Origin.IMPORTED))
    table.remove("b")
    assert (table.count(), table.count(language="python"), table.count(language="rust")) == (2, 1, 1)
    assert (table.count(origin=Origin.IMPORTED), table.count(language="cobol")) == (1, 0)


def test_what_was_there_stays_when_the_table_grows() -> None:
    table = VectorTable(DIMENSION)
    seeds = list(range(700))
    for start in range(0, 700, 350):
        some = seeds[start : start + 350]
        table.put(rows([f"task-{seed}" for seed in some], some, sequence=start + 1))
    assert len(table) == 700
    assert [table.search(unit(seed), 1)[0][0] for seed in (0, 255, 256, 699)] == [
        "task-0",
        "task-255",
        "task-256",
        "task-699",
    ]
