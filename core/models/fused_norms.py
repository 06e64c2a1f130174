"""Normalising in one kernel instead of eight, where a step consists of little else but starting kernels.

On a GPU, half of the kernels of a step are those of normalisations as transformers writes them,
and each takes longer than its work. torch has one kernel for all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.nn import functional

_ALIKE = frozenset({"LlamaRMSNorm", "MistralRMSNorm", "Phi3RMSNorm", "Qwen2RMSNorm"})
"""Modules of transformers that do the same."""


class FusedNorms:
    """Lets the normalisations of a model run in one kernel each, for as long as that is wanted.

    The same numbers in float32; in fewer bits they are rounded once instead of twice.
    """

    def __init__(self, model: nn.Module) -> None:
        self._norms = [module for module in model.modules() if type(module).__name__ in _ALIKE]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Replace what the modules do, and put it back."""
        for norm in self._norms:
            norm.forward = partial(_normalise, norm)
        try:
            yield
        finally:
            for norm in self._norms:
                del norm.forward


def _normalise(norm: nn.Module, states: torch.Tensor) -> torch.Tensor:
    weight = norm.weight
    assert isinstance(weight, torch.Tensor)
    return functional.rms_norm(states, weight.shape, weight, norm.variance_epsilon)  # type: ignore[arg-type]
