"""A Llama-like decoder on the CPU, written for one token at a time.

At a batch of one, the time goes into reading weights and into Python. So weights are packed,
projections that share an input are one matrix, keys and values have their place beforehand, and
each step does as little as it can. The residual stream is float32; products are bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from core.cancellation import CancelToken
from core.models.packed.config import DecoderConfig
from core.models.packed.linear import Head, Linear

_BLOCK = 64
"""Positions that attend together, to the keys up to the end of their block.

The last digits of a product depend on its shape. What a token attends to is cut at multiples of
this, counted from the start of the text, so that its result does not depend on which tokens are
read along with it.
"""
_ALIKE = 4
"""Rows of which torch's attention treats each the same, if it gets whole multiples of them."""
_GROWTH = 256
"""Positions that there is room for at first, and by which the table of rotations grows."""


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
        """Tokens that there is room for without moving anything; the last layer is the last to grow."""
        return self.layers[-1].shape[2]

    def truncate(self, length: int) -> None:
        """Forget all tokens after the first `length`."""
        if not 0 <= length <= self.length:
            message = f"a cache of {self.length} tokens cannot be cut to {length}"
            raise ValueError(message)
        self.length = length

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens in all, and a quarter more, so that moving them stays rare."""
        if length <= self.capacity:
            return
        for index, old in enumerate(self.layers):
            self.layers[index] = self._allocate(length + length // 4)
            self.layers[index][:, :, : self.length] = old[:, :, : self.length]

    def _allocate(self, capacity: int) -> torch.Tensor:
        """Return room for one layer: keys and values, heads, positions, size of a head.

        Filled with zeros: what nobody has written is looked at, though it counts for nothing.
        """
        return torch.zeros(2, self._config.kv_heads, _whole_blocks(capacity), self._config.head_size)


class Norm:
    """Root mean square normalization (Zhang and Sennrich 2019, arXiv 1910.07467) in float32.

    With the norm's length taken by one kernel, this costs two thirds of `torch.rms_norm` for one token.
    """

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        size = weight.shape[0]
        self._weight = weight * math.sqrt(size)
        self._least = torch.tensor(math.sqrt(size * epsilon))

    def __call__(self, stream: torch.Tensor) -> torch.Tensor:
        """Map (tokens, size) to the same shape."""
        length = torch.linalg.vector_norm(stream, dim=-1, keepdim=True)
        return (stream / torch.hypot(length, self._least)).mul_(self._weight)


Cut = Callable[[int, int, int | None, int], "list[_Block]"]
"""How tokens attend, from their first position, the end, the sliding window, and the queries that share a key."""


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
class _Block:
    """Tokens of a span that attend together, and to what."""

    tokens: tuple[int, int]
    """Where they start in the span, and how many there are."""
    keys: tuple[int, int]
    """Where they start in the cache, and how many there are."""
    mask: torch.Tensor | None
    """What is added to the scores; shape (queries of a key's head, keys). None if all keys are seen."""


@dataclass(frozen=True, slots=True)
class _Span:
    """The tokens of one forward pass."""

    start: int
    end: int
    rotations: torch.Tensor
    """Complex numbers, shape (tokens, 1, half of a head)."""
    blocks: dict[int | None, list[_Block]]
    """By sliding window."""


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

    def prefill(self, tokens: Sequence[int], cache: KeyValueCache, cancel: CancelToken) -> torch.Tensor:
        """Read a piece of a prompt, which follows what is in the cache.

        However a prompt is cut into pieces, the result is the same.

        Args:
            tokens: At least one.
            cache: Holds what came before; the tokens are added to it, or none if this raises.
            cancel: Looked at between layers.

        Returns:
            Logits after the last token, in float32; shape (vocabulary,).
        """
        stream = self._run(tokens, cache, cancel, _attend_in_blocks)
        return self._head(self._norm(stream[-1:]))[0]

    def decode(self, tokens: Sequence[int], cache: KeyValueCache, cancel: CancelToken) -> torch.Tensor:
        """Read a few tokens of a reply; the result is the same as if they were read one by one.

        Args:
            tokens: At least one.
            cache: Holds what came before; the tokens are added to it, or none if this raises.
            cancel: Looked at between layers.

        Returns:
            Logits after each token, in float32; shape (tokens, vocabulary).
        """
        cut = _attend_alone if self.config.group == 1 else _attend_in_blocks
        return self._head(self._norm(self._run(tokens, cache, cancel, cut)))

    def _run(self, tokens: Sequence[int], cache: KeyValueCache, cancel: CancelToken, cut: Cut) -> torch.Tensor:
        """Return what comes out of the last layer; shape (tokens, hidden)."""
        span = self._span(len(tokens), cache, cut)
        stream = self._embedding[torch.tensor(tokens)].float()
        for layer, kv, window in zip(self._layers, cache.layers, self.config.windows, strict=True):
            cancel.raise_if_cancelled()
            self._attend(layer, stream, kv, span, span.blocks[window])
            self._feed_forward(layer, stream)
        cache.length = span.end
        return stream

    def _span(self, count: int, cache: KeyValueCache, cut: Cut) -> _Span:
        start, end = cache.length, cache.length + count
        cache.reserve(end)
        if end > len(self._rotations):
            self._rotations = _rotations(self.config.frequencies, -(-end // _GROWTH) * _GROWTH)
        blocks = {window: cut(start, end, window, self.config.group) for window in set(self.config.windows)}
        return _Span(start, end, self._rotations[start:end], blocks)

    def _attend(
        self, layer: DecoderLayer, stream: torch.Tensor, kv: torch.Tensor, span: _Span, blocks: Sequence[_Block]
    ) -> None:
        shape = self.config
        count = span.end - span.start
        size, heads = shape.head_size, shape.heads
        qkv = layer.queries_keys_values(layer.attention_norm(stream))
        if layer.attention_bias is not None:
            qkv += layer.attention_bias
        turned = qkv[:, : (heads + shape.kv_heads) * size].view(count, heads + shape.kv_heads, size // 2, 2)
        torch.view_as_complex(turned).mul_(span.rotations)
        new = qkv[:, heads * size :].view(count, 2, shape.kv_heads, size)
        kv.narrow(2, span.start, count).copy_(new.permute(1, 2, 0, 3))
        queries = qkv[:, : heads * size].view(count, heads, size)
        parts = [
            _attention(queries.narrow(0, *block.tokens), kv.narrow(2, *block.keys), block.mask) for block in blocks
        ]
        seen = parts[0] if len(parts) == 1 else torch.cat(parts)
        stream += layer.attention_output(seen)

    def _feed_forward(self, layer: DecoderLayer, stream: torch.Tensor) -> None:
        both = layer.gate_up(layer.feed_forward_norm(stream))
        size = self.config.feed_forward
        stream += layer.down(functional.silu(both[:, :size]).mul_(both[:, size : 2 * size]))


def _attention(queries: torch.Tensor, kv: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Attend to keys and values whose heads are shared by groups of queries, which are rows of one product.

    Args:
        queries: Shape (tokens, heads, size).
        kv: Shape (2, kv heads, positions, size).
        mask: See `_Block`.

    Returns:
        Shape (tokens, heads * size).
    """
    count, heads, size = queries.shape
    shared = kv.shape[1]
    group = heads // shared
    rows = queries.view(count, shared, group, size).permute(1, 2, 0, 3).reshape(1, shared, group * count, size)
    if mask is not None and len(mask) > group * count:
        rows = functional.pad(rows, (0, 0, 0, len(mask) - group * count))
    keys, values = kv.unsqueeze(1).unbind()
    seen = functional.scaled_dot_product_attention(rows, keys, values, attn_mask=mask)
    seen = seen.narrow(2, 0, group * count).view(shared, group, count, size)
    return seen.permute(2, 0, 1, 3).reshape(count, heads * size)


def _attend_in_blocks(start: int, end: int, window: int | None, group: int) -> list[_Block]:
    """Let tokens attend together, as far as they are in the same block of positions."""
    blocks = []
    for first in range(start - start % _BLOCK, end, _BLOCK):
        here = range(max(start, first), min(end, first + _BLOCK))
        oldest = 0 if window is None else max(0, first + 1 - window)
        there = range(oldest - oldest % _BLOCK, first + _BLOCK)
        mask = _mask(here, there, window, group)
        blocks.append(_Block((here.start - start, len(here)), (there.start, len(there)), mask))
    return blocks


def _attend_alone(start: int, end: int, window: int | None, _: int) -> list[_Block]:
    """Let each token attend by itself.

    Where each query has keys of its own, the product for a single one is much faster than a share
    of that for several.
    """
    positions = range(start, end)
    oldest = [0 if window is None else max(0, here + 1 - window) for here in positions]
    return [
        _Block((here - start, 1), (first, here + 1 - first), None)
        for here, first in zip(positions, oldest, strict=True)
    ]


def _mask(here: range, there: range, window: int | None, group: int) -> torch.Tensor:
    """Return what hides from each position what comes after it or has left its window."""
    own = torch.arange(here.start, here.stop)[:, None]
    other = torch.arange(there.start, there.stop)
    hidden = other > own
    if window is not None:
        hidden |= other <= own - window
    mask = torch.zeros(hidden.shape).masked_fill_(hidden, -math.inf).repeat(group, 1)
    return functional.pad(mask, (0, 0, 0, -len(mask) % _ALIKE))


def _whole_blocks(count: int) -> int:
    return -(-count // _BLOCK) * _BLOCK


def _rotations(frequencies: Sequence[float], count: int) -> torch.Tensor:
    """Return the turns of each pair of a head at each position; shape (count, 1, pairs)."""
    angles = torch.outer(torch.arange(count).double(), torch.tensor(frequencies).double())
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)[:, None]
