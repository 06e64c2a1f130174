"""Weight matrices in 4 and 8 bits: from floating point, and back.

Groups of 32 neighbours in a row share a scale and a low. This is also what the 4-bit formats of
GGUF are, so that their blocks carry over as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from core.models.packed.instructions import LARGEST_CODE
from core.models.packed.products import GROUP

LEVELS = {4: 15, 8: LARGEST_CODE}
"""Largest code, by bits. Of 8 bits, 7 are used."""
_AT_ONCE = 1 << 22
"""Weights that are rounded at a time, which bounds the memory for what is computed on the way."""
WHOLE = (1.0,)
"""Only the whole range of a group."""
_CLIPS = {4: (1.0, 0.95, 0.9, 0.85, 0.8), 8: WHOLE}
"""Shares of a group's range that are tried, by bits; a smaller range is finer but cuts outliers off."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix whose weights are `code * scale + low`."""

    bits: int
    """4 or 8."""
    codes: torch.Tensor
    """0 to 15 or to 127; uint8, shape (rows, columns)."""
    scales: torch.Tensor
    """float32, shape (rows, columns / 32)."""
    lows: torch.Tensor
    """float32, shape (rows, columns / 32)."""

    def dequantize(self) -> torch.Tensor:
        """Return the weights in float32."""
        rows, columns = self.codes.shape
        codes = self.codes.view(rows, columns // GROUP, GROUP).float()
        return (codes * self.scales[..., None] + self.lows[..., None]).view(rows, columns)

    def take(self, rows: torch.Tensor) -> Matrix:
        """Return the matrix with its rows in another order."""
        return Matrix(self.bits, self.codes[rows], self.scales[rows], self.lows[rows])


def quantize(weights: torch.Tensor, bits: int, clips: Sequence[float] = ()) -> Matrix:
    """Round each group to 16 or 128 levels, over the share of its range that gives the least squared error.

    Args:
        weights: Shape (rows, columns), of which there are a multiple of 32.
        bits: 4 or 8.
        clips: Shares of the range that are tried, if not the usual ones.
    """
    rows = max(1, _AT_ONCE // weights.shape[1])
    parts = [_quantize_rows(part, LEVELS[bits], clips or _CLIPS[bits]) for part in torch.split(weights, rows)]
    return Matrix(bits, *(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def stack(parts: Sequence[Matrix]) -> Matrix:
    """Put matrices on top of each other; 8 bits for all if any of them needs 8. Codes stay as they are."""
    return Matrix(
        max(part.bits for part in parts),
        torch.cat([part.codes for part in parts]),
        torch.cat([part.scales for part in parts]),
        torch.cat([part.lows for part in parts]),
    )


def _quantize_rows(weights: torch.Tensor, largest: int, clips: Sequence[float]) -> tuple[torch.Tensor, ...]:
    rows, columns = weights.shape
    groups = weights.float().view(rows, columns // GROUP, GROUP)
    first, *others = clips
    best = _round_groups(groups, largest, first)
    least = _squared_error(groups, *best)
    for clip in others:
        found = _round_groups(groups, largest, clip)
        error = _squared_error(groups, *found)
        better = error < least
        least = torch.where(better, error, least)
        best = tuple(torch.where(better[..., None], new, old) for new, old in zip(found, best, strict=True))
    codes, scales, lows = best
    return codes.to(torch.uint8).view(rows, columns), scales[..., 0], lows[..., 0]


def _round_groups(groups: torch.Tensor, largest: int, clip: float) -> tuple[torch.Tensor, ...]:
    """Return codes, scales and lows for one share of each group's range."""
    low, high = groups.aminmax(dim=-1, keepdim=True)
    middle, reach = (low + high) / 2, (high - low) / 2 * clip
    scales = _storable(2 * reach / largest)
    lows = _storable(middle - scales * largest / 2)
    codes = ((groups - lows) / torch.where(scales > 0, scales, 1.0)).round_().clamp_(0, largest)
    return codes, scales, lows


def _squared_error(groups: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, lows: torch.Tensor) -> torch.Tensor:
    return (codes * scales + lows - groups).square_().sum(dim=-1)


def _storable(values: torch.Tensor) -> torch.Tensor:
    """Round as the kernels will see it, so that codes are chosen for the scale that is used."""
    return values.to(torch.float16).float()
