"""Choosing the next token from logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from core.models.interface import SamplingParams


class Sampler:
    """Chooses the tokens of one reply.

    Greedy when the temperature is 0. Random numbers come from a generator of its own on the CPU,
    so that a seed gives the same reply on every device.
    """

    def __init__(self, params: SamplingParams, prompt: Sequence[int], device: torch.device) -> None:
        self._params = params
        self._generator = torch.Generator().manual_seed(params.seed)
        self._seen = torch.tensor(sorted(set(prompt)), dtype=torch.long, device=device)

    def choose(self, logits: torch.Tensor) -> int:
        """Return the next token's id.

        Args:
            logits: Of the last position; shape (vocabulary,).
        """
        scores = self._penalise_repetition(logits.float())
        token = self._sample(scores) if self._params.temperature > 0 else int(scores.argmax())
        self._remember(token)
        return token

    def _remember(self, token: int) -> None:
        if self._params.repetition_penalty != 1.0:
            self._seen = torch.cat([self._seen, self._seen.new_tensor([token])])

    def _penalise_repetition(self, scores: torch.Tensor) -> torch.Tensor:
        """Make tokens seen before less likely (Keskar et al. 2019, arXiv 1909.05858, section 4.1)."""
        penalty = self._params.repetition_penalty
        if penalty == 1.0:
            return scores
        seen = scores[self._seen]
        return scores.index_put((self._seen,), torch.where(seen < 0, seen * penalty, seen / penalty))

    def _sample(self, scores: torch.Tensor) -> int:
        """Sample from the smallest set whose probability reaches `top_p` (Holtzman et al. 2019, arXiv 1904.09751)."""
        probabilities, tokens = torch.softmax(scores / self._params.temperature, dim=-1).sort(descending=True)
        before = probabilities.cumsum(-1) - probabilities
        kept = torch.where(before < self._params.top_p, probabilities, 0.0)
        index = torch.multinomial(kept.cpu(), 1, generator=self._generator)
        return int(tokens[int(index)])
