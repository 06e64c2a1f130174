"""Where weights are placed in an arena, and what is known about what is there."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from core.models.arena import ALIGNMENT, Arena, Span, aligned, gaps, lay_out

UNIT = ALIGNMENT
sizes_of_models = st.lists(st.integers(1, 5 * UNIT), min_size=1, max_size=12)


def room(sizes: list[int]) -> int:
    return sum(aligned(size) for size in sizes)


def fill(arena: Arena, tenant) -> int:
    """Write what is missing; returns the bytes written."""
    missing = [index for index, present in enumerate(tenant.present) if not present]
    for index in missing:
        arena.begin_write(tenant, index)
        arena.end_write(tenant, index)
    return sum(aligned(tenant.spans[index].size) for index in missing)


@given(sizes_of_models, st.integers(0, 40), st.lists(st.integers(1, 20), max_size=3))
def test_no_weight_lies_on_another_and_all_lie_in_what_was_offered(
    sizes: list[int], own: int, shared: list[int]
) -> None:
    offered = [Span(number, UNIT, UNIT * (1 + size)) for number, size in enumerate(shared, start=1)]
    spans = lay_out(sizes, Span(0, 0, own * UNIT), offered)
    if spans is None:
        assert room(sizes) > own * UNIT
        return
    assert [span.size for span in spans] == sizes
    assert not any(one.overlaps(other) for one, other in itertools.combinations(spans, 2))
    assert all(span.start % ALIGNMENT == 0 for span in spans)
    whole = [Span(0, 0, own * UNIT), *offered]
    assert all(any(w.segment == s.segment and w.start <= s.start and s.end <= w.end for w in whole) for s in spans)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=4))
def test_gaps_are_all_that_is_not_taken(pieces: list[tuple[int, int]]) -> None:
    end, taken = 0, []
    for skip, size in pieces:
        start = end + skip * UNIT
        end = start + size * UNIT
        taken.append(Span(0, start, end - 3))
    free = gaps(0, end + 2 * UNIT, [*taken, Span(1, 0, UNIT)])
    assert room([span.size for span in free]) + room([span.size for span in taken]) == end + 2 * UNIT
    assert not any(one.overlaps(other) for one, other in itertools.combinations([*free, *taken], 2))


def test_models_that_both_fit_share_nothing() -> None:
    arena = Arena(torch.device("cpu"))
    first, second = arena.settle([UNIT] * 4, 100 * UNIT), arena.settle([UNIT] * 6, 100 * UNIT)
    assert (fill(arena, first), fill(arena, second)) == (4 * UNIT, 6 * UNIT)
    assert (fill(arena, first), fill(arena, second)) == (0, 0)
    assert arena.size == 10 * UNIT


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 24))
def test_only_the_overlap_is_copied(first: int, second: int, capacity: int) -> None:
    """Bytes of a swap = what both models have together beyond the arena; the first layers of both stay."""
    arena, capacity = Arena(torch.device("cpu")), max(capacity, first, second)
    one = arena.settle([UNIT] * first, capacity * UNIT)
    fill(arena, one)
    arena.leave(one)
    two = arena.settle([UNIT] * second, capacity * UNIT - arena.size)
    assert two is not None
    fill(arena, two)
    overlap = max(0, first + second - capacity)
    for coming, leaving, count in ((one, two, first), (two, one, second)) * 2:
        arena.leave(leaving)
        assert arena.resume(coming)
        assert coming.present == [True] * (count - overlap) + [False] * overlap
        assert fill(arena, coming) == overlap * UNIT
    assert arena.size <= capacity * UNIT


def test_model_in_use_is_never_overwritten() -> None:
    arena = Arena(torch.device("cpu"))
    one = arena.settle([UNIT] * 4, 4 * UNIT)
    assert arena.settle([UNIT], 0) is None
    arena.leave(one)
    two = arena.settle([UNIT] * 2, 0)
    assert two is not None
    assert not arena.resume(one)


def test_generation_tells_that_something_was_lost() -> None:
    arena = Arena(torch.device("cpu"))
    one = arena.settle([UNIT] * 4, 4 * UNIT)
    fill(arena, one)
    before = one.generation
    arena.leave(one)
    two = arena.settle([UNIT], 0)
    assert one.generation == before
    arena.begin_write(two, 0)
    assert one.generation > before
    assert one.present == [True, True, True, False]


def test_place_given_back_is_memory_given_back() -> None:
    arena = Arena(torch.device("cpu"))
    one, two = arena.settle([UNIT] * 4, 4 * UNIT), arena.settle([UNIT] * 2, 2 * UNIT)
    arena.give_back(one)
    assert arena.size == 2 * UNIT
    arena.give_back(two)
    assert arena.size == 0


def test_memory_between_two_models_is_found() -> None:
    arena = Arena(torch.device("cpu"))
    one = arena.settle([UNIT] * 4, 4 * UNIT)
    arena.leave(one)
    arena.settle([UNIT], 0)
    assert arena.reusable == 3 * UNIT
    three = arena.settle([2 * UNIT], 0)
    assert three.spans == [Span(0, UNIT, 3 * UNIT)]
