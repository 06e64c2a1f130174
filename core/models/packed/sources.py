"""Where weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open

from core.models.packed.facts import DEFAULT_BITS
from core.models.quantize import Matrix, quantize
from core.models.weights import shards


class WeightSource(Protocol):
    """The weights of one model, by transformers' names."""

    interleaved: bool
    """Whether queries and keys have the two numbers that are turned together side by side."""

    def __contains__(self, name: str) -> bool:
        """Whether there is such a tensor."""
        ...

    def matrix(self, name: str) -> Matrix:
        """Return a matrix in as many bits as it is worth."""
        ...

    def exact(self, name: str) -> torch.Tensor:
        """Return a tensor in float32."""
        ...


class SafetensorsSource:
    """A model folder of transformers, in one file or several."""

    interleaved = False

    def __init__(self, folder: Path, bits: int = DEFAULT_BITS) -> None:
        self._bits = bits
        self._files = {
            name: file
            for file in map(_open, shards(folder))
            for name in file.keys()  # noqa: SIM118 - no mapping
        }

    def __contains__(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._files

    def matrix(self, name: str) -> Matrix:
        """Return a matrix in as many bits as were asked for."""
        return quantize(self.exact(name), self._bits)

    def exact(self, name: str) -> torch.Tensor:
        """Return a tensor in float32."""
        return self.stored(name).float()

    def stored(self, name: str) -> torch.Tensor:
        """Return a tensor as it is in the file, without reading it."""
        tensor: torch.Tensor = self._files[name].get_tensor(name)
        return tensor


def _open(shard: Path) -> Any:
    return safe_open(shard, framework="pt")
