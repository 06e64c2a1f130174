from __future__ import annotations

from core.knowledge.thresholds import for_store


def test_a_larger_store_asks_for_more_similarity() -> None:
    sizes = [0, 1, 10, 164, 300, 1_000, 100_000, 10_000_000]
    known = [for_store(size).known for size in sizes]
    assert known == sorted(known)
    assert 0.4 < known[0] < known[-1] < 0.8


def test_bands_are_in_order_at_every_size() -> None:
    for size in (0, 164, 100_000):
        thresholds = for_store(size)
        assert thresholds.taught < thresholds.weak < thresholds.known < thresholds.same
