"""A model of transformers whose steps can be recorded.

A prompt is read like by `TransformersModel`. A step of a reply computes on memory that stays where
it is, for a fixed number of tokens and a fixed reach into the past, and takes what changes from
step to step out of a small buffer on the device: so it can be recorded once for each reach, and be
replayed as long as neither weights nor keys have moved.

There are as many tokens in every step, those that nobody asks about included: some kernels of
cuDNN for a single token do not say the same twice, and none would say the same for a token alone
and beside guesses. The time goes into reading weights, or into starting kernels, anyhow.
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

WIDTH = 8
"""Tokens of a step."""
SMALLEST = 512
"""Tokens that the first keys get room for; doubled as a text grows."""
_ALIGNMENT = 16
"""Kernels for attention want a multiple of it as the number of keys."""
_SAME = 0.15
"""How far off another way to compute a step may be, as a share of the logits: bfloat16 alone makes up to 0.05."""

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


class StepPass(Protocol):
    """A way to compute a step."""

    def compute(self, places: torch.Tensor, reach: int, cache: FixedCache) -> torch.Tensor:
        """Read some tokens.

        Args:
            places: On the device, int64: where the first token goes, where the last one goes, and `WIDTH` tokens.
                Those that would go after the last place are not meant.
            reach: The text may have so many tokens; there is room for them.
            cache: Keys and values. Those of tokens that are not meant may be anything.

        Returns:
            What follows each token; shape (tokens, vocabulary). Rows of tokens that are not meant may be anything.
        """
        ...


class StaticModel(ReadsWithTransformers):
    """Implements `core.models.causal_model.CausalModel`."""

    prefill_chunk = 512
    """Starting the kernels for a chunk takes as long as they do; twice as many tokens would be late to cancel."""
    step_width = WIDTH

    def __init__(
        self, model: PreTrainedModel, weights: Weights, recorder: Recorder, fast: StepPass | None = None
    ) -> None:
        """Start with nothing read.

        Args:
            model: What computes.
            weights: The model's.
            recorder: Makes its steps quick to repeat.
            fast: Computes a step better than the model's modules. Taken if it comes to the same in the first step.

        Raises:
            ValueError: The model keeps something else than keys and values, or limits them in an unknown way.
        """
        super().__init__(model)
        self._weights = weights
        self._recorder = recorder
        self._fused = FusedStep(model)
        self._step_pass: StepPass = self._fused
        self._fast = fast
        """Not tried yet."""
        self._cache = FixedCache(model.config)
        self._length = 0
        self._written = 0
        """Where what was ever written ends, guesses and padding included."""
        self._inputs: torch.Tensor | None = None
        self._steps: dict[int, Step] = {}
        """For each reach."""
        self._moves = weights.moves
        self.recordings = 0
        """Steps that have been recorded so far."""
        self._unrecorded = ""
        """Why steps are not recorded; empty as long as they can be."""
        self._slow = ""
        """Why they are not computed by what is fast."""

    @property
    def remark(self) -> str:
        """What people should know about how it runs; empty if nothing."""
        return "; ".join(filter(None, (self._unrecorded, self._slow)))

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
        try:
            return self._run_step(tokens)
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
        self._unrecorded = ""

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
    def _run_step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Fill up with tokens that nobody asks about, and forget them."""
        start, count = self._length, len(tokens)
        reach = self._reserve(start + WIDTH)
        self._weights.require()
        numbers = torch.tensor([start, start + count - 1, *tokens, *[tokens[-1]] * (WIDTH - count)])
        if self._inputs is None:
            self._inputs = torch.zeros_like(numbers, device=self.device)
        self._inputs.copy_(numbers, non_blocking=True)
        # The next step overwrites what this one returns.
        logits = self._step(self._inputs, reach)()[:count].clone()
        self._length = start + count
        self._written = max(self._written, start + WIDTH)
        return logits

    def _step(self, places: torch.Tensor, reach: int) -> Step:
        """Return a recorded step, or else the step itself."""
        if self._moves != self._weights.moves:
            self._forget_steps()
            self._moves = self._weights.moves
        if reach in self._steps:
            return self._steps[reach]
        self._try_fast(places, reach)
        step = partial(self._step_pass.compute, places, reach, self._cache)
        if self._unrecorded:
            return step
        try:
            self._steps[reach] = self._recorder.record(step)
        except Exception as error:  # noqa: BLE001 - whatever it is, the step can still be run as it is
            # A device says no with a `RuntimeError`; others come from modules that are not what was thought.
            if not isinstance(error, RuntimeError) and self._fused.give_up():
                _log.warning("%s: steps are computed as transformers does: %r", self._model.config.model_type, error)
                return self._step(places, reach)
            self._give_up(error)
            return step
        self.recordings += 1
        return self._steps[reach]

    def _try_fast(self, places: torch.Tensor, reach: int) -> None:
        """Take the fast way from now on if it computes the next step as the modules do; looked at once."""
        fast, self._fast = self._fast, None
        if fast is None:
            return
        try:
            count = int(places[1] - places[0]) + 1
            expected = self._fused.compute(places, reach, self._cache)[:count].float()
            found = fast.compute(places, reach, self._cache)[:count].float()
            off = float((found - expected).norm() / expected.norm())
            problem = "" if off < _SAME else f"they are off by {off:.0%}"
        except torch.OutOfMemoryError:
            self._fast = fast
            raise
        except Exception as error:  # noqa: BLE001 - the modules can do without
            problem = str(error).strip().partition("\n")[0] or type(error).__name__
        if problem:
            self._slow = f"replies are written by torch's kernels, since faster ones cannot be used here: {problem}"
            _log.warning("%s: %s", self._model.config.model_type, self._slow)
        else:
            self._step_pass = fast

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
        everything = -(-(self.context_length + WIDTH) // _ALIGNMENT) * _ALIGNMENT
        return size if size < self.context_length else everything

    def _give_up(self, error: Exception) -> None:
        """Run steps as they are from now on, until everything is forgotten."""
        # The end of a capture that has failed fails as well; what came first is the reason.
        reason = str(error.__context__ or error).strip().partition("\n")[0] or type(error).__name__
        self._forget_steps()
        self._unrecorded = f"replies are computed step by step, because recording a step failed: {reason}"
        _log.warning("%s: %s", self._model.config.model_type, self._unrecorded)

    def _forget_steps(self) -> None:
        self._steps.clear()
        self._recorder.release()
