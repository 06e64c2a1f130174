"""Memory of one device that models share: who lies where, and whether it is still there.

The arena grows by segments as models come, up to what may be used. While there is room, each
model gets a place of its own. When there is none, a model's first weights get what is left and
its last ones a place from the end of another model's downwards: so only the overlap is ever
copied again, and the first layers of both stay. Leaving costs nothing: bytes stay until
somebody else writes there. A place, once given, keeps its address until it is given back.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

ALIGNMENT = 512
"""Bytes that every weight's address is a multiple of, as the allocator of CUDA has it."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A range of bytes in one segment."""

    segment: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    def overlaps(self, other: Span) -> bool:
        """Whether a byte belongs to both."""
        return self.segment == other.segment and self.start < other.end and other.start < self.end


def aligned(size: int) -> int:
    """Return the room that `size` bytes take."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def lay_out(sizes: Sequence[int], own: Span | None, shared: Sequence[Span]) -> list[Span] | None:
    """Find a place for each weight of a model.

    Args:
        sizes: Bytes of the weights, in the order in which they are used.
        own: Room that nobody else has; filled upwards with the first weights.
        shared: Room that other models have left; filled downwards with the last weights.

    Returns:
        A span for each weight, or None if they do not all fit.
    """
    spans: list[Span] = []
    end = own.start if own else 0
    for size in sizes:
        if own is None or end + aligned(size) > own.end:
            break
        spans.append(Span(own.segment, end, end + size))
        end += aligned(size)
    rest = _downwards(sizes[len(spans) :], shared)
    return None if rest is None else spans + rest


def _downwards(sizes: Sequence[int], free: Sequence[Span]) -> list[Span] | None:
    """Place the last size at the end of the first span, and so on towards the first size."""
    left = list(free)
    spans: list[Span] = []
    for size in reversed(sizes):
        index = next((index for index, span in enumerate(left) if span.size >= aligned(size)), None)
        if index is None:
            return None
        span = left[index]
        start = span.end - aligned(size)
        left[index] = Span(span.segment, span.start, start)
        spans.append(Span(span.segment, start, start + size))
    return spans[::-1]


def gaps(segment: int, size: int, taken: Iterable[Span]) -> list[Span]:
    """Return what `taken` leaves free of a segment, the end first."""
    edges = [(span.start, aligned(span.end)) for span in sorted(taken) if span.segment == segment]
    starts = itertools.chain([0], (end for _, end in edges))
    ends = itertools.chain((start for start, _ in edges), [size])
    free = [Span(segment, start, end) for start, end in zip(starts, ends, strict=True) if start < end]
    return free[::-1]


@dataclass(slots=True, eq=False)
class Tenant:
    """A model's place in the arena."""

    spans: list[Span]
    present: list[bool]
    """For each weight, whether its bytes are there."""
    in_use: bool = True
    """Whether others must keep off."""
    generation: int = 0
    """Raised whenever a byte of it is about to be overwritten."""
    conflicts: list[list[tuple[Tenant, int]]] = field(default_factory=list, repr=False)
    """For each weight, the weights of others that lie on the same bytes."""


class Arena:
    """The segments of one device, and the models in them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._segments: dict[int, torch.Tensor] = {}
        self._numbers = itertools.count()
        self._tenants: list[Tenant] = []

    @property
    def size(self) -> int:
        """Bytes allocated."""
        return sum(segment.nbytes for segment in self._segments.values())

    @property
    def reusable(self) -> int:
        """Bytes that no model in use lies on."""
        return self.size - sum(aligned(span.size) for one in self._tenants if one.in_use for span in one.spans)

    def settle(self, sizes: Sequence[int], growth: int) -> Tenant | None:
        """Give a model a place, and allocate at most `growth` bytes for it.

        Returns:
            The place, with nothing in it yet; None if there is not enough room.
        """
        own = self._grow(sizes, growth)
        taken = [span for tenant in self._tenants if tenant.in_use for span in tenant.spans]
        others = [number for number in self._segments if own is None or number != own.segment]
        shared = [gap for number in others for gap in gaps(number, self._segments[number].nbytes, taken)]
        spans = lay_out(sizes, own, shared)
        if spans is None:
            if own:
                del self._segments[own.segment]
            return None
        tenant = Tenant(spans, [False] * len(spans))
        self._tenants.append(tenant)
        self._link()
        return tenant

    def resume(self, tenant: Tenant) -> bool:
        """Let a model use its place again; False if another one in use lies on it."""
        if any(other.in_use for others in tenant.conflicts for other, _ in others):
            return False
        tenant.in_use = True
        return True

    def leave(self, tenant: Tenant) -> None:
        """Let others overwrite a model's place; moves nothing."""
        tenant.in_use = False

    def view(self, tenant: Tenant, index: int, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
        """Return the memory of one weight."""
        span = tenant.spans[index]
        return self._segments[span.segment][span.start : span.end].view(dtype).view(shape)

    def begin_write(self, tenant: Tenant, index: int) -> None:
        """Note that a weight is about to be written; what lay there is lost for the others."""
        for other, lost in tenant.conflicts[index]:
            assert not other.in_use
            if other.present[lost]:
                other.present[lost] = False
                other.generation += 1
        tenant.present[index] = False
        tenant.generation += 1

    def end_write(self, tenant: Tenant, index: int) -> None:
        """Note that a weight is there."""
        tenant.present[index] = True

    def give_back(self, tenant: Tenant) -> None:
        """Take a model's place away for good; nothing may refer to its memory any more."""
        self._tenants.remove(tenant)
        tenant.generation += 1
        used = {span.segment for one in self._tenants for span in one.spans}
        self._segments = {number: segment for number, segment in self._segments.items() if number in used}
        self._link()

    def _grow(self, sizes: Sequence[int], growth: int) -> Span | None:
        """Allocate a segment for as many of the first weights as may be."""
        totals = itertools.accumulate(aligned(size) for size in sizes)
        size = max((total for total in totals if total <= growth), default=0)
        if not size:
            return None
        number = next(self._numbers)
        self._segments[number] = torch.empty(size, dtype=torch.uint8, device=self._device)
        return Span(number, 0, size)

    def _link(self) -> None:
        for tenant in self._tenants:
            others = [other for other in self._tenants if other is not tenant]
            tenant.conflicts = [
                [(other, index) for other in others for index, span in enumerate(other.spans) if span.overlaps(mine)]
                for mine in tenant.spans
            ]
