"""A packed decoder with its cache, as the runner uses it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from core.cancellation import CancelToken
from core.models.packed.decoder import Decoder


class PackedModel:
    """Implements `core.models.causal_model.CausalModel` on the CPU."""

    prefill_chunk = 64
    """Reading weights once takes much less time than multiplying by them so often; so a cancel waits for less."""
    step_width = 8
    """A large matrix is read once for all: 4 tokens take 1.7 times as long as one, 8 take 3 times."""
    device = torch.device("cpu")
    remark = ""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._cache = decoder.new_cache()

    @property
    def context_length(self) -> int:
        """Longest text, in tokens."""
        return self._decoder.config.context_length

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self._cache.length

    @property
    def bytes_kept(self) -> int:
        """Bytes that keys and values take."""
        return sum(layer.nbytes for layer in self._cache.layers)

    def prefill(self, tokens: Sequence[int], token: CancelToken) -> torch.Tensor:
        """Read a piece of a prompt; see `CausalModel.prefill`."""
        return self._decoder.prefill(tokens, self._cache, token)

    def decode(self, tokens: Sequence[int], token: CancelToken) -> torch.Tensor:
        """Read a few tokens of a reply; see `CausalModel.decode`."""
        return self._decoder.decode(tokens, self._cache, token)

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        self._cache.truncate(min(length, self._cache.length))

    def release(self) -> None:
        """Forget everything, and give the memory of keys and values back."""
        self._cache = self._decoder.new_cache()
