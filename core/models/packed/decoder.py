"""A Llama-like decoder on the CPU, written for one token at a time.

At a batch of one, the time goes into reading weights and into Python. So weights are packed,
projections that share an input are one matrix, keys and values have their place beforehand, and
each step does as little as it can. The residual stream is float32; products are bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from core.cancellation import CancelToken
from core.llvm import LANES
from core.models.packed.attention import scratch_floats
from core.models.packed.config import DecoderConfig
from core.models.packed.kernel import Kernel
from core.models.packed.linear import Head, Linear

_GROWTH = 256
"""Positions that there is room for at first, and by which the table of rotations grows."""
_THREAD_SHARE = 1 << 18
"""Products of attention from which it pays to wake one more thread."""


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
        return torch.zeros(2, self._config.kv_heads, capacity, self._config.head_size)


class Norm:
    """Root mean square normalization of float32."""

    def __init__(self, weight: torch.Tensor, epsilon: float, kernel: Kernel) -> None:
        self._weight = torch.cat([weight.float(), torch.tensor([epsilon])])
        self._norm = kernel.norm

    def __call__(self, stream: torch.Tensor) -> torch.Tensor:
        """Map (tokens, size) to the same shape."""
        outputs = torch.empty_like(stream)
        tokens, size = stream.shape
        self._norm(stream.data_ptr(), self._weight.data_ptr(), outputs.data_ptr(), tokens, size // LANES)
        return outputs


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
    """Cosine and sine of each pair, shape (tokens, size of a head)."""
    scores: torch.Tensor
    """Scratch memory for attention."""

    @property
    def count(self) -> int:
        """How many there are."""
        return self.end - self.start


class Decoder:
    """Runs tokens through the layers of a model."""

    def __init__(
        self,
        config: DecoderConfig,
        kernel: Kernel,
        *,
        embedding: torch.Tensor,
        layers: Sequence[DecoderLayer],
        norm: Norm,
        head: Head,
    ) -> None:
        """Put a model together.

        Args:
            config: Its shape.
            kernel: What computes.
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
        self._kernel = kernel
        self._see = kernel.attend(config.head_size)
        self._rotations = torch.empty(0)

    def new_cache(self, capacity: int = _GROWTH) -> KeyValueCache:
        """Return an empty cache with room for `capacity` tokens."""
        return KeyValueCache(self.config, capacity)

    def prefill(self, tokens: Sequence[int], cache: KeyValueCache, cancel: CancelToken) -> torch.Tensor:
        """Read a piece of a prompt, which follows what is in the cache.

        The result is the same, bit by bit, however a text is cut into pieces, and as that of `decode`.

        Args:
            tokens: At least one.
            cache: Holds what came before; the tokens are added to it, or none if this raises.
            cancel: Looked at between layers.

        Returns:
            Logits after the last token, in float32; shape (vocabulary,).
        """
        return self._head(self._norm(self._run(tokens, cache, cancel)[-1:]))[0]

    def decode(self, tokens: Sequence[int], cache: KeyValueCache, cancel: CancelToken) -> torch.Tensor:
        """Read a few tokens of a reply; the result is the same as if they were read one by one.

        Args:
            tokens: At least one.
            cache: Holds what came before; the tokens are added to it, or none if this raises.
            cancel: Looked at between layers.

        Returns:
            Logits after each token, in float32; shape (tokens, vocabulary).
        """
        return self._head(self._norm(self._run(tokens, cache, cancel)))

    def _run(self, tokens: Sequence[int], cache: KeyValueCache, cancel: CancelToken) -> torch.Tensor:
        """Return what comes out of the last layer; shape (tokens, hidden)."""
        span = self._span(len(tokens), cache)
        stream = self._embedding[torch.tensor(tokens)].float()
        for layer, kv, window in zip(self._layers, cache.layers, self.config.windows, strict=True):
            cancel.raise_if_cancelled()
            self._attend(layer, stream, kv, span, window or span.end)
            self._feed_forward(layer, stream)
        cache.length = span.end
        return stream

    def _span(self, count: int, cache: KeyValueCache) -> _Span:
        start, end = cache.length, cache.length + count
        cache.reserve(end)
        if end > len(self._rotations):
            self._rotations = _rotations(self.config.frequencies, -(-end // _GROWTH) * _GROWTH)
        scores = torch.empty(scratch_floats(self.config.heads, end))
        return _Span(start, end, self._rotations[start:end], scores)

    def _attend(self, layer: DecoderLayer, stream: torch.Tensor, kv: torch.Tensor, span: _Span, window: int) -> None:
        shape = self.config
        mixed = layer.queries_keys_values(layer.attention_norm(stream))
        if layer.attention_bias is not None:
            mixed += layer.attention_bias
        queries, cache = mixed.data_ptr(), kv.data_ptr()
        capacity, vectors = kv.shape[2], shape.head_size // LANES
        self._kernel.rotate(
            queries,
            span.rotations.data_ptr(),
            cache,
            span.count,
            shape.heads,
            shape.kv_heads,
            vectors,
            capacity,
            span.start,
        )
        seen = torch.empty(span.count, shape.heads * shape.head_size)
        threads = min(torch.get_num_threads(), 1 + 2 * seen.numel() * min(window, span.end) // _THREAD_SHARE)
        self._see(
            queries,
            cache,
            seen.data_ptr(),
            span.scores.data_ptr(),
            span.count,
            span.start,
            window,
            capacity,
            shape.kv_heads,
            shape.heads,
            threads,
        )
        stream += layer.attention_output(seen)

    def _feed_forward(self, layer: DecoderLayer, stream: torch.Tensor) -> None:
        both = layer.gate_up(layer.feed_forward_norm(stream))
        size = self.config.feed_forward
        opened = torch.empty(len(stream), size)
        self._kernel.gate(both.data_ptr(), opened.data_ptr(), len(stream), size // LANES)
        stream += layer.down(opened)


def _rotations(frequencies: Sequence[float], count: int) -> torch.Tensor:
    """Return the turns of each pair of a head at each position; shape (count, 2 * pairs)."""
    angles = torch.outer(torch.arange(count).double(), torch.tensor(frequencies).double())
    return torch.stack([angles.cos(), angles.sin()], dim=-1).float().view(count, -1)
