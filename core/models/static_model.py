"""A model of transformers whose steps can be recorded.

A prompt is read like by `TransformersModel`. A step of a reply computes on memory that stays where
it is, for a fixed number of tokens and a fixed reach into the past, and takes what changes from
step to step out of a small buffer on the device: so it can be recorded once for each width and
reach, and be replayed as long as neither weights nor keys have moved.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import torch
from transformers import PreTrainedModel

from core.cancellation import CancelToken
from core.models.causal_model import ReadsWithTransformers, count_bytes
from core.models.fixed_cache import FixedCache, Reach
from core.models.fused_step import FusedStep
from core.models.recording import Recorder, Step

WIDTHS = (1, 4, 8)
"""Tokens of a step: one alone, and as many guesses as the runner makes in its two moods."""
SMALLEST = 512
"""Tokens that the first keys get room for; doubled as a text grows."""
_ALIGNMENT = 16
"""Kernels for attention want a multiple of it as the number of keys."""
_HEADER = 2
"""Numbers before the tokens in the buffer: where the first token goes, and the last."""

_log = logging.getLogger(__name__)


class Weights(Protocol):
    """Knows where a model's weights are."""

    @property
    def moves(self) -> int:
        """Raised whenever they get another address, or lose theirs."""
        ...

    def require(self) -> None:
        """Let what computes next wait until they have arrived.

        Raises:
            RuntimeError: They are not in memory.
        """
        ...


class StaticModel(ReadsWithTransformers):
    """Implements `core.models.causal_model.CausalModel`."""

    step_width = WIDTHS[-1]

    def __init__(self, model: PreTrainedModel, weights: Weights, recorder: Recorder) -> None:
        """Start with nothing read.

        Args:
            model: What computes.
            weights: The model's.
            recorder: Makes its steps quick to repeat.

        Raises:
            ValueError: The model keeps something else than keys and values, or limits them in an unknown way.
        """
        super().__init__(model)
        self._weights = weights
        self._recorder = recorder
        self._fused = FusedStep(model)
        self._cache = FixedCache(model.config)
        self._length = 0
        self._written = 0
        """Where what was ever written ends, guesses and padding included."""
        self._inputs: torch.Tensor | None = None
        self._steps: dict[tuple[int, int], Step] = {}
        self._moves = weights.moves
        self.recordings = 0
        """Steps that have been recorded so far."""
        self.remark = ""
        """Why steps are not recorded; empty as long as they can be."""

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self._length

    @property
    def bytes_kept(self) -> int:
        """Bytes that keys and values take."""
        return count_bytes(self._cache)

    def decode(self, tokens: Sequence[int], token: CancelToken) -> torch.Tensor:
        """Read a few tokens of a reply; see `CausalModel.decode`."""
        if self._cache.is_empty or len(tokens) > self.step_width:
            return self._read(tokens, last=len(tokens))
        width = next(width for width in WIDTHS if width >= len(tokens))
        try:
            return self._run_step(tokens, width)
        except BaseException:
            self.release()
            raise

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        self._length = min(length, self._length)

    def release(self) -> None:
        """Forget everything, and give the memory of keys, values and recorded steps back."""
        self._forget_steps()
        self._cache = FixedCache(self._model.config)
        self._inputs = None
        self._length = self._written = 0
        self.remark = ""

    def _read(self, tokens: Sequence[int], *, last: int) -> torch.Tensor:
        logits = super()._read(tokens, last=last)
        self._length = self._written = self._length + len(tokens)
        return logits

    def _cache_for(self, count: int) -> FixedCache:
        end = self._length + count
        self._reserve(end)
        self._cache.clear(self._length, self._written)
        self._cache.aim(Reach(self._length, end))
        return self._cache

    @torch.inference_mode()
    def _run_step(self, tokens: Sequence[int], width: int) -> torch.Tensor:
        """Fill up to the width with tokens that nobody asks about, and forget them."""
        start, count = self._length, len(tokens)
        reach = self._reserve(start + width)
        self._weights.require()
        if self._inputs is None:
            self._inputs = torch.zeros(_HEADER + self.step_width, dtype=torch.long, device=self.device)
        padding = [tokens[-1]] * (width - count)
        numbers = torch.tensor([start, start + count - 1, *tokens, *padding])
        self._inputs[: _HEADER + width].copy_(numbers, non_blocking=True)
        # The next step overwrites what this one returns.
        logits = self._step(width, reach)()[:count].clone()
        self._length = start + count
        self._written = max(self._written, start + width)
        return logits

    def _step(self, width: int, reach: int) -> Step:
        """Return a recorded step, or else the step itself."""
        if self._moves != self._weights.moves:
            self._forget_steps()
            self._moves = self._weights.moves
        key = (width, reach)
        if key in self._steps:
            return self._steps[key]
        step = partial(self._compute, width, reach)
        if self.remark:
            return step
        try:
            self._steps[key] = self._recorder.record(step)
        except Exception as error:  # noqa: BLE001 - whatever it is, the step can still be run as it is
            # A device says no with a `RuntimeError`; others come from modules that are not what was thought.
            if not isinstance(error, RuntimeError) and self._fused.give_up():
                _log.warning("%s: steps are computed as transformers does: %r", self._model.config.model_type, error)
                return self._step(width, reach)
            self._give_up(error)
            return step
        self.recordings += 1
        return self._steps[key]

    def _compute(self, width: int, reach: int) -> torch.Tensor:
        """Compute one step; nothing here may depend on numbers that the host knows, but for width and reach."""
        assert self._inputs is not None
        start, last = self._inputs[0], self._inputs[1]
        written = start + torch.arange(width, device=self.device)
        self._cache.aim(Reach(end=reach, positions=written))
        with self._fused.used():
            output = self._model(
                input_ids=self._inputs[None, _HEADER : _HEADER + width],
                # Some models choose their rotary frequencies by the largest position: that of padding must not count.
                position_ids=torch.minimum(written, last)[None],
                attention_mask=self._masks(written, reach),
                past_key_values=self._cache,
                use_cache=True,
            )
        logits: torch.Tensor = output.logits[0]
        return logits

    def _masks(self, written: torch.Tensor, reach: int) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return what each token may look at, as transformers wants it: for each kind of layers if there are several.

        As numbers to be added, which kernels take as they are; truth values they would convert in every layer.
        """
        masks = {kind: self._mask(written, reach, window) for kind, window in self._cache.windows.items()}
        return next(iter(masks.values())) if len(masks) == 1 else masks

    def _mask(self, written: torch.Tensor, reach: int, window: int | None) -> torch.Tensor:
        behind = written[:, None] - torch.arange(reach, device=self.device)
        hidden = behind < 0 if window is None else (behind < 0) | (behind >= window)
        mask = torch.zeros(hidden.shape, dtype=self._model.dtype, device=self.device)
        return mask.masked_fill_(hidden, float("-inf"))[None, None]

    def _reserve(self, length: int) -> int:
        """Make room for a text of a length; returns how far into the past its steps reach."""
        reach = self._bucket(length)
        if reach > self._cache.capacity:
            self._forget_steps()
            self._cache.reserve(reach)
        return reach

    def _bucket(self, length: int) -> int:
        """Return the room for a text: a power of two, or all of the context and a step's padding."""
        size = SMALLEST
        while size < length:
            size *= 2
        everything = -(-(self.context_length + self.step_width) // _ALIGNMENT) * _ALIGNMENT
        return size if size < self.context_length else everything

    def _give_up(self, error: Exception) -> None:
        """Run steps as they are from now on, until everything is forgotten."""
        # The end of a capture that has failed fails as well; what came first is the reason.
        reason = str(error.__context__ or error).strip().partition("\n")[0] or type(error).__name__
        self._forget_steps()
        self.remark = f"replies are computed step by step, because recording a step failed: {reason}"
        _log.warning("%s: %s", self._model.config.model_type, self.remark)

    def _forget_steps(self) -> None:
        self._steps.clear()
        self._recorder.release()
