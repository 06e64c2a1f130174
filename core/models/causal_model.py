"""What the runner needs of a language model, and transformers' models as such."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from core.cancellation import CancelToken


class CausalModel(Protocol):
    """Predicts the next token of a text that it reads piece by piece, and remembers."""

    @property
    def context_length(self) -> int:
        """Longest text, in tokens."""
        ...

    @property
    def prefill_chunk(self) -> int:
        """Tokens of a prompt that are best read at a time."""
        ...

    @property
    def step_width(self) -> int:
        """Tokens that are best read at a time where some of them are guesses."""
        ...

    @property
    def device(self) -> torch.device:
        """Where logits are."""
        ...

    @property
    def remark(self) -> str:
        """What people should know about how it runs; empty if nothing."""
        ...

    @property
    def length(self) -> int:
        """Tokens read so far."""
        ...

    @property
    def bytes_kept(self) -> int:
        """Bytes that keys and values take."""
        ...

    def prefill(self, tokens: Sequence[int], token: CancelToken) -> torch.Tensor:
        """Read a piece of a prompt, which follows what was read so far.

        Args:
            tokens: At least one.
            token: May be looked at on the way.

        Returns:
            Logits after the last token; shape (vocabulary,). If it raises, nothing or everything is forgotten.
        """
        ...

    def decode(self, tokens: Sequence[int], token: CancelToken) -> torch.Tensor:
        """Read a few tokens of a reply.

        Args:
            tokens: At least one.
            token: May be looked at on the way.

        Returns:
            Logits after each token; shape (tokens, vocabulary). If it raises, nothing or everything is forgotten.
        """
        ...

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens, exactly as if the rest had never been read."""
        ...

    def release(self) -> None:
        """Forget everything, and give the memory of keys and values back."""
        ...


def count_bytes(cache: Cache) -> int:
    """Return the bytes that the keys and values of all layers take."""
    layers = [layer for layer in cache.layers if isinstance(layer, CacheLayerMixin)]
    return sum(part.nbytes for layer in layers for part in (layer.keys, layer.values) if part is not None)


class ReadsWithTransformers(ABC):
    """What all that compute with a model of transformers have in common: how they read a piece of a text."""

    prefill_chunk = 256

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    @property
    def context_length(self) -> int:
        """Longest text, in tokens."""
        return int(self._model.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        """Where logits are."""
        return self._model.device

    def prefill(self, tokens: Sequence[int], token: CancelToken) -> torch.Tensor:
        """Read a piece of a prompt; see `CausalModel.prefill`."""
        return self._read(tokens, last=1)[0]

    @abstractmethod
    def release(self) -> None:
        """Forget everything."""

    @abstractmethod
    def _cache_for(self, count: int) -> Cache:
        """Return what holds the keys and values so far, ready for those of so many more tokens."""

    @torch.inference_mode()
    def _read(self, tokens: Sequence[int], *, last: int) -> torch.Tensor:
        """Return the logits after the last tokens."""
        ids = torch.tensor([list(tokens)], device=self.device)
        try:
            cache = self._cache_for(len(tokens))
            output = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=last)
        except BaseException:
            # Some layers may have written their keys and values, and others not.
            self.release()
            raise
        logits: torch.Tensor = output.logits[0]
        return logits


class TransformersModel(ReadsWithTransformers):
    """A model of transformers, whose keys and values are copied to a larger place with each token.

    Its cache keeps what has left a sliding window as well: dropping that would make going back
    inexact. The model's own mask still hides it.
    """

    step_width = 8
    """The time of a step goes into reading weights, or on a GPU into starting kernels, for 8 tokens as for one."""

    def __init__(self, model: PreTrainedModel, remark: str = "") -> None:
        super().__init__(model)
        self.remark = remark
        """What people should know about how it runs; empty if nothing."""
        self._cache = DynamicCache()

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return int(self._cache.get_seq_length())

    @property
    def bytes_kept(self) -> int:
        """Bytes that keys and values take."""
        return count_bytes(self._cache)

    def decode(self, tokens: Sequence[int], token: CancelToken) -> torch.Tensor:
        """Read a few tokens of a reply; see `CausalModel.decode`."""
        return self._read(tokens, last=len(tokens))

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if length < self.length:
            self._cache.crop(length - self.length)

    def release(self) -> None:
        """Forget everything."""
        self._cache = DynamicCache()

    def _cache_for(self, count: int) -> Cache:
        return self._cache
