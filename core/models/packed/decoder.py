"""A Llama-like decoder on the CPU, written for one token at a time.

At a batch of one, the time goes into reading weights and into Python. So weights are packed,
projections that share an input are one matrix, keys and values have their place beforehand, and
each step does as little as it can. The residual stream is float32; products are bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from core.cancellation import CancelToken
from core.models.packed.config import DecoderConfig
from core.models.packed.linear import Head, Linear

_FEW = 8
"""Tokens up to which each attends on its own, as it would without the others.

The last digits of a product depend on how many rows are multiplied at once. Tokens that are only
verified together must come out as if they had been read one by one: so those of a step with
guesses do, bit by bit, and all other operations here are exact by row anyway.
"""
_GROWTH = 256
"""Positions by which a cache and the table of rotations grow."""


class KeyValueCache:
    """Keys and values of the tokens that a decoder has read.

    Rolling back is exact, also past a sliding window: nothing is ever dropped. Everything is in
    float32: where each query has keys of its own, torch attends from one token three to eight times
    as fast to those as to bfloat16.
    """

    def __init__(self, config: DecoderConfig, capacity: int = _GROWTH) -> None:
        self._config = config
        self.length = 0
        self.layers = [self._allocate(capacity) for _ in range(config.layers)]

    @property
    def capacity(self) -> int:
        """Tokens that there is room for without moving anything."""
        return self.layers[0].shape[2]

    def truncate(self, length: int) -> None:
        """Forget all tokens after the first `length`."""
        if not 0 <= length <= self.length:
            message = f"a cache of {self.length} tokens cannot be cut to {length}"
            raise ValueError(message)
        self.length = length

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens in all."""
        if length <= self.capacity:
            return
        capacity = -(-length // _GROWTH) * _GROWTH
        for index, old in enumerate(self.layers):
            self.layers[index] = self._allocate(capacity)
            self.layers[index][:, :, : self.length] = old[:, :, : self.length]

    def _allocate(self, capacity: int) -> torch.Tensor:
        """Return room for one layer: keys and values, heads, positions, size of a head."""
        shape = (2, self._config.kv_heads, capacity, self._config.head_size)
        return torch.empty(shape)


class Norm:
    """Root mean square normalization (Zhang and Sennrich 2019, arXiv 1910.07467) of float32 to bfloat16.

    With the norm's length taken by one kernel, this costs two thirds of `torch.rms_norm` for one token.
    """

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        size = weight.shape[0]
        self._weight = weight * math.sqrt(size)
        self._least = torch.tensor(math.sqrt(size * epsilon))

    def __call__(self, stream: torch.Tensor) -> torch.Tensor:
        """Map (tokens, size) to the same shape."""
        length = torch.linalg.vector_norm(stream, dim=-1, keepdim=True)
        return (stream / torch.hypot(length, self._least)).mul_(self._weight).to(torch.bfloat16)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLayer:
    """Weights of one layer.

    Queries and keys have the two numbers that the rotary embedding turns together side by side.
    """

    attention_norm: Norm
    queries_keys_values: Linear
    attention_bias: torch.Tensor | None
    attention_output: Linear
    feed_forward_norm: Norm
    gate_up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class _Span:
    """The tokens of one forward pass."""

    start: int
    end: int
    rotations: torch.Tensor
    """Complex numbers, shape (tokens, 1, half of a head)."""
    masks: dict[int | None, torch.Tensor | None]
    """What each token sees, by sliding window."""


class Decoder:
    """Runs tokens through the layers of a model."""

    def __init__(
        self,
        config: DecoderConfig,
        embedding: torch.Tensor,
        layers: Sequence[DecoderLayer],
        norm: Norm,
        head: Head,
    ) -> None:
        """Put a model together.

        Args:
            config: Its shape.
            embedding: In any precision, shape (vocabulary, hidden).
            layers: In the order in which they run.
            norm: What comes after the layers.
            head: What comes last.
        """
        self.config = config
        self._embedding = embedding
        self._layers = layers
        self._norm = norm
        self._head = head
        self._rotations = torch.empty(0)

    def new_cache(self, capacity: int = _GROWTH) -> KeyValueCache:
        """Return an empty cache with room for `capacity` tokens."""
        return KeyValueCache(self.config, capacity)

    def forward(
        self, tokens: Sequence[int], cache: KeyValueCache, cancel: CancelToken, *, last: int = 1
    ) -> torch.Tensor:
        """Read tokens that follow those in the cache.

        Args:
            tokens: At least one.
            cache: Holds what came before; the tokens are added to it, or none if this raises.
            cancel: Looked at between layers.
            last: For how many of the last tokens to predict the next one.

        Returns:
            Logits in float32; shape (last, vocabulary).
        """
        span = self._span(len(tokens), cache)
        stream = self._embedding[torch.tensor(tokens)].float()
        for layer, kv, window in zip(self._layers, cache.layers, self.config.windows, strict=True):
            cancel.raise_if_cancelled()
            self._attend(layer, stream, kv, span, window)
            self._feed_forward(layer, stream)
        cache.length = span.end
        return self._head(self._norm(stream[-last:]))

    def _span(self, count: int, cache: KeyValueCache) -> _Span:
        start, end = cache.length, cache.length + count
        cache.reserve(end)
        if end > len(self._rotations):
            self._rotations = _rotations(self.config.frequencies, -(-end // _GROWTH) * _GROWTH)
        masks = {window: _mask(start, end, window) for window in set(self.config.windows)}
        return _Span(start, end, self._rotations[start:end], masks)

    def _attend(
        self, layer: DecoderLayer, stream: torch.Tensor, kv: torch.Tensor, span: _Span, window: int | None
    ) -> None:
        shape = self.config
        count = span.end - span.start
        size, heads = shape.head_size, shape.heads
        mixed = layer.queries_keys_values(layer.attention_norm(stream))
        qkv = mixed.float() if layer.attention_bias is None else mixed + layer.attention_bias
        turned = qkv[:, : (heads + shape.kv_heads) * size].view(count, heads + shape.kv_heads, size // 2, 2)
        torch.view_as_complex(turned).mul_(span.rotations)
        new = qkv[:, heads * size :].view(count, 2, shape.kv_heads, size)
        kv[:, :, span.start : span.end] = new.permute(1, 2, 0, 3)
        queries = qkv[:, : heads * size].view(count, heads, size)
        seen = _attention(queries, kv[:, :, : span.end], window, span.masks[window])
        stream += layer.attention_output(seen.to(torch.bfloat16))

    def _feed_forward(self, layer: DecoderLayer, stream: torch.Tensor) -> None:
        both = layer.gate_up(layer.feed_forward_norm(stream))
        size = self.config.feed_forward
        stream += layer.down(functional.silu(both[:, :size]).mul_(both[:, size : 2 * size]))


def _attention(queries: torch.Tensor, kv: torch.Tensor, window: int | None, mask: torch.Tensor | None) -> torch.Tensor:
    """Attend to keys and values whose heads are shared by groups of queries.

    Args:
        queries: Of the last tokens; shape (tokens, heads, size).
        kv: Shape (2, kv heads, positions, size).
        window: Positions that a token sees.
        mask: What each of many tokens sees, or None for all that is not after it.

    Returns:
        Shape (tokens, heads * size).
    """
    count = queries.shape[0]
    if count > _FEW:
        return _attend_together(queries, kv, mask)
    ends = range(kv.shape[2] - count + 1, kv.shape[2] + 1)
    starts = [0 if window is None else max(0, end - window) for end in ends]
    spans = zip(queries, starts, ends, strict=True)
    return torch.cat([_attend_alone(one, kv[:, :, start:end]) for one, start, end in spans])


def _attend_alone(query: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
    """Attend from one token; the queries that share a head are the rows of one product."""
    heads, size = query.shape
    shared = kv.shape[1]
    keys, values = kv[:, None]
    return functional.scaled_dot_product_attention(query.view(1, shared, heads // shared, size), keys, values).view(
        1, -1
    )


def _attend_together(queries: torch.Tensor, kv: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Attend from many tokens. Torch's own option for shared heads would copy the keys for each query."""
    count, heads, size = queries.shape
    shared = kv.shape[1]
    group = heads // shared
    grouped = queries.view(count, shared, group, size).permute(1, 2, 0, 3)
    keys, values = kv[:, :, None].expand(2, shared, group, -1, size)
    seen = functional.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask, is_causal=mask is None)
    return seen.permute(2, 0, 1, 3).reshape(count, heads * size)


def _mask(start: int, end: int, window: int | None) -> torch.Tensor | None:
    """Return which positions the tokens of a span see, or None where causality alone says it."""
    if end - start <= _FEW or (start == 0 and (window is None or window >= end)):
        return None
    here = torch.arange(start, end)[:, None]
    there = torch.arange(end)
    visible = there <= here
    return visible if window is None else visible & (there > here - window)


def _rotations(frequencies: Sequence[float], count: int) -> torch.Tensor:
    """Return the turns of each pair of a head at each position; shape (count, 1, pairs)."""
    angles = torch.outer(torch.arange(count).double(), torch.tensor(frequencies).double())
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)[:, None]
