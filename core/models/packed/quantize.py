"""Weight matrices in 4 and 8 bits: from floating point, and back.

Two forms, because torch has fast CPU kernels for exactly these:

* `Int4Matrix`: groups of 32 neighbours in a row share a scale and a zero. This is also what the
  4-bit formats of GGUF are, so that their blocks carry over as they are.
* `Int8Matrix`: each row has a scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

GROUP = 32
"""Neighbours in a row that share a scale and a zero."""
CENTRE = 8
"""The 4-bit code that stands for a group's zero."""
_LARGEST_CODE = 15
_LARGEST_INT8 = 127
_AT_ONCE = 1 << 22
"""Weights that are rounded at a time, which bounds the memory for what is computed on the way."""
_CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Shares of a group's range that are tried; a smaller range is finer but cuts outliers off."""


@dataclass(frozen=True, slots=True)
class Int4Matrix:
    """A matrix whose weights are `(code - 8) * scale + zero`."""

    codes: torch.Tensor
    """0 to 15; uint8, shape (rows, columns)."""
    scales: torch.Tensor
    """float32, shape (rows, columns / 32)."""
    zeros: torch.Tensor
    """float32, shape (rows, columns / 32)."""

    def dequantize(self) -> torch.Tensor:
        """Return the weights in float32."""
        rows, columns = self.codes.shape
        codes = self.codes.view(rows, columns // GROUP, GROUP).float() - CENTRE
        return (codes * self.scales[..., None] + self.zeros[..., None]).view(rows, columns)

    def take(self, rows: torch.Tensor) -> Int4Matrix:
        """Return the matrix with its rows in another order."""
        return Int4Matrix(self.codes[rows], self.scales[rows], self.zeros[rows])


@dataclass(frozen=True, slots=True)
class Int8Matrix:
    """A matrix whose weights are `code * scale`."""

    codes: torch.Tensor
    """int8, shape (rows, columns)."""
    scales: torch.Tensor
    """float32, shape (rows,)."""

    def dequantize(self) -> torch.Tensor:
        """Return the weights in float32."""
        return self.codes.float() * self.scales[:, None]

    def take(self, rows: torch.Tensor) -> Int8Matrix:
        """Return the matrix with its rows in another order."""
        return Int8Matrix(self.codes[rows], self.scales[rows])


Matrix = Int4Matrix | Int8Matrix


def quantize_int4(weights: torch.Tensor) -> Int4Matrix:
    """Round each group to 16 levels, over the share of its range that gives the least squared error."""
    rows = max(1, _AT_ONCE // weights.shape[1])
    parts = [_quantize_int4_rows(part) for part in torch.split(weights, rows)]
    return Int4Matrix(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def quantize_int8(weights: torch.Tensor) -> Int8Matrix:
    """Round each row to 255 levels around zero."""
    scales = _storable((weights.abs().amax(dim=1) / _LARGEST_INT8).float())
    divisors = torch.where(scales > 0, scales, 1.0)
    codes = (weights.float() / divisors[:, None]).round().clamp(-_LARGEST_INT8, _LARGEST_INT8)
    return Int8Matrix(codes.to(torch.int8), scales)


def stack(parts: Sequence[Matrix]) -> Matrix:
    """Put matrices on top of each other; 8 bits for all if any of them needs 8."""
    if len(parts) == 1:
        return parts[0]
    fours = [part for part in parts if isinstance(part, Int4Matrix)]
    if len(fours) == len(parts):
        return Int4Matrix(
            torch.cat([part.codes for part in fours]),
            torch.cat([part.scales for part in fours]),
            torch.cat([part.zeros for part in fours]),
        )
    eights = [part if isinstance(part, Int8Matrix) else quantize_int8(part.dequantize()) for part in parts]
    return Int8Matrix(torch.cat([part.codes for part in eights]), torch.cat([part.scales for part in eights]))


def _quantize_int4_rows(weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
    rows, columns = weights.shape
    groups = weights.float().view(rows, columns // GROUP, GROUP)
    best = _round_groups(groups, _CLIPS[0])
    least = _squared_error(groups, *best)
    for clip in _CLIPS[1:]:
        found = _round_groups(groups, clip)
        error = _squared_error(groups, *found)
        better = error < least
        least = torch.where(better, error, least)
        best = tuple(torch.where(better[..., None], new, old) for new, old in zip(found, best, strict=True))
    codes, scales, zeros = best
    return codes.to(torch.uint8).view(rows, columns), scales[..., 0], zeros[..., 0]


def _round_groups(groups: torch.Tensor, clip: float) -> tuple[torch.Tensor, ...]:
    """Return codes, scales and zeros for one share of each group's range."""
    low, high = groups.aminmax(dim=-1, keepdim=True)
    middle, reach = (low + high) / 2, (high - low) / 2 * clip
    scales = _storable(2 * reach / _LARGEST_CODE)
    zeros = _storable(middle + scales / 2)
    codes = ((groups - zeros) / torch.where(scales > 0, scales, 1.0)).round_().add_(CENTRE).clamp_(0, _LARGEST_CODE)
    return codes, scales, zeros


def _squared_error(
    groups: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor
) -> torch.Tensor:
    return ((codes - CENTRE) * scales + zeros - groups).square_().sum(dim=-1)


def _storable(values: torch.Tensor) -> torch.Tensor:
    """Round as the kernels will see it, so that codes are chosen for the scale that is used."""
    return values.to(torch.bfloat16).float()
