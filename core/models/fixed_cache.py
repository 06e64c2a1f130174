"""Keys and values that keep their address while a text grows, so that steps can be recorded.

Unlike the static cache of transformers it goes back exactly, also past a sliding window; reads
only as far as a step needs; and grows with the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PretrainedConfig
from transformers.cache_utils import Cache, CacheLayerMixin

FULL, SLIDING = "full_attention", "sliding_attention"
HEADER = 2
"""What a step is told on the device: where its first token goes and where its last one goes, before the tokens."""


@dataclass(slots=True)
class Reach:
    """What a forward pass reads and writes."""

    start: int = 0
    """Tokens before it, as far as they are known when it is started."""
    end: int = 0
    """Tokens that are looked at."""
    positions: torch.Tensor | None = None
    """Where it writes, in the memory of the device; None if that is from `start` to `end`."""


class FixedCache(Cache):
    """Keys and values of all layers."""

    def __init__(self, config: PretrainedConfig) -> None:
        """Start empty: memory is taken when the first keys come.

        Raises:
            ValueError: The model has layers that look back in another way than all, or a window.
        """
        kinds = _kinds(config)
        if other := sorted(set(kinds) - {FULL, SLIDING}):
            raise ValueError(f"layers of the kind {other[0]} cannot be kept in place")
        self._rooms = [_Room(is_sliding=kind == SLIDING) for kind in kinds]
        super().__init__(layers=list(self._rooms))
        self.windows = {kind: config.sliding_window if kind == SLIDING else None for kind in kinds}
        """For each kind of layers, how many tokens it looks back; None if all."""
        self.capacity = 0
        """Tokens that there is room for."""

    @property
    def is_empty(self) -> bool:
        """Whether there are no keys and values yet."""
        return any(room.keys is None for room in self._rooms)

    def window_of(self, layer: int) -> int | None:
        """Return how many tokens a layer looks back; None if all."""
        return self.windows[SLIDING if self._rooms[layer].is_sliding else FULL]

    def kept(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the memory of a layer's keys and values: (1, heads, capacity, size of a head) each."""
        room = self._rooms[layer]
        assert room.keys is not None
        assert room.values is not None
        return room.keys, room.values

    def aim(self, reach: Reach) -> None:
        """Tell all layers what the next forward pass reads and writes."""
        for room in self._rooms:
            room.reach = reach

    def reserve(self, capacity: int) -> None:
        """Make room for so many tokens, layer by layer; what there was moves there."""
        self.capacity = capacity
        for room in self._rooms:
            room.reserve(capacity)

    def clear(self, start: int, end: int) -> None:
        """Overwrite what is not looked at any more: nothing times a number that is none would be none as well."""
        for room in self._rooms:
            room.clear(start, end)


class _Room(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """Keys and values of one layer."""

    def __init__(self, *, is_sliding: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_sliding = is_sliding
        self.reach = Reach()
        self._capacity = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Take memory for keys and values like these."""
        self.keys, self.values = _like(key_states, self._capacity), _like(value_states, self._capacity)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write what is new; returns all that may be looked at."""
        if self.keys is None or self.values is None:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        start, end, positions = self.reach.start, self.reach.end, self.reach.positions
        for kept, new in ((self.keys, key_states), (self.values, value_states)):
            if positions is None:
                kept[:, :, start:end] = new
            else:
                kept.index_copy_(2, positions, new)
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reserve(self, capacity: int) -> None:
        """Make room."""
        self._capacity = capacity
        if self.keys is not None and self.values is not None:
            self.keys = _grown(self.keys, capacity)
            self.values = _grown(self.values, capacity)

    def clear(self, start: int, end: int) -> None:
        """Overwrite with zeros."""
        for kept in (self.keys, self.values):
            if kept is not None:
                kept[:, :, start:end].zero_()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many keys there are to look at, and where they begin."""
        return self.reach.end, 0

    def get_seq_length(self) -> int:
        """Return how many tokens there are before the forward pass."""
        return self.reach.start

    def get_max_length(self) -> int:
        """Return how many tokens there is room for."""
        return self._capacity

    get_max_cache_shape = get_max_length
    """Its name in older versions of transformers."""


def _kinds(config: PretrainedConfig) -> list[str]:
    """Return how each layer looks back, which only some configurations say by themselves."""
    kinds: list[str] | None = getattr(config, "layer_types", None)
    if kinds is not None:
        return list(kinds)
    if getattr(config, "attention_chunk_size", None) is not None:
        return ["chunked_attention"]
    window = getattr(config, "sliding_window", None)
    return [FULL if window is None else SLIDING] * int(config.num_hidden_layers)


def _like(states: torch.Tensor, capacity: int) -> torch.Tensor:
    """Return zeros: what is masked is multiplied by nothing, which only numbers survive."""
    batch, heads, _, size = states.shape
    return states.new_zeros((batch, heads, capacity, size))


def _grown(states: torch.Tensor, capacity: int) -> torch.Tensor:
    grown = _like(states, capacity)
    grown[:, :, : states.shape[2]] = states
    return grown
