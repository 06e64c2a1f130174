"""Weight matrices in 4 and 8 bits: from floating point, and back.

Groups of 32 neighbours in a row share a scale and a low. This is also what the 4-bit formats of
GGUF are, so that their blocks carry over as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

GROUP = 32
"""Neighbours in a row that share a scale and a low."""
NIBBLE_BITS = 4
"""Of a code that shares its byte with another."""
LEVELS = {NIBBLE_BITS: 15, 8: 127}
"""Largest code, by bits. Of 8 bits, 7 are used: two products with 8 bits then fit into a sum of 16."""
_LARGEST_INT8 = 127
_AT_ONCE = 1 << 22
"""Weights that are rounded at a time, which bounds the memory for what is computed on the way."""
WHOLE = (1.0,)
"""Only the whole range of a group."""
_CLIPS = {NIBBLE_BITS: (1.0, 0.95, 0.9, 0.85, 0.8), 8: WHOLE}
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


def quantize(
    weights: torch.Tensor, bits: int, clips: Sequence[float] = (), stored: torch.dtype = torch.float16
) -> Matrix:
    """Round each group to 16 or 128 levels, over the share of its range that gives the least squared error.

    Args:
        weights: Shape (rows, columns), of which there are a multiple of 32.
        bits: 4 or 8.
        clips: Shares of the range that are tried, if not the usual ones.
        stored: The type that scales and lows will be kept in; codes are chosen for what it makes of them.
    """
    rows = max(1, _AT_ONCE // weights.shape[1])
    rounding = _Rounding(LEVELS[bits], clips or _CLIPS[bits], stored)
    parts = [rounding.apply(part) for part in torch.split(weights, rows)]
    return Matrix(bits, *(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def stack(parts: Sequence[Matrix]) -> Matrix:
    """Put matrices on top of each other; 8 bits for all if any of them needs 8. Codes stay as they are."""
    return Matrix(
        max(part.bits for part in parts),
        torch.cat([part.codes for part in parts]),
        torch.cat([part.scales for part in parts]),
        torch.cat([part.lows for part in parts]),
    )


def quantize_rows(weights: torch.Tensor, stored: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row to 255 levels around zero.

    Returns:
        Codes, int8 (rows, columns), and scales in float32 that the type they will be kept in can hold, (rows,).
    """
    scales = (weights.abs().amax(dim=1).float() / _LARGEST_INT8).to(stored).float()
    divisors = torch.where(scales > 0, scales, 1.0)
    codes = (weights.float() / divisors[:, None]).round().clamp(-_LARGEST_INT8, _LARGEST_INT8)
    return codes.to(torch.int8), scales


@dataclass(frozen=True, slots=True)
class _Rounding:
    """How groups are rounded."""

    largest: int
    clips: Sequence[float]
    stored: torch.dtype

    def apply(self, weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return codes, scales and lows."""
        rows, columns = weights.shape
        groups = weights.float().view(rows, columns // GROUP, GROUP)
        first, *others = self.clips
        best = self._round(groups, first)
        least = _squared_error(groups, *best)
        for clip in others:
            found = self._round(groups, clip)
            error = _squared_error(groups, *found)
            better = error < least
            least = torch.where(better, error, least)
            best = tuple(torch.where(better[..., None], new, old) for new, old in zip(found, best, strict=True))
        codes, scales, lows = best
        return codes.to(torch.uint8).view(rows, columns), scales[..., 0], lows[..., 0]

    def _round(self, groups: torch.Tensor, clip: float) -> tuple[torch.Tensor, ...]:
        """Round to one share of each group's range."""
        low, high = groups.aminmax(dim=-1, keepdim=True)
        middle, reach = (low + high) / 2, (high - low) / 2 * clip
        scales = self._storable(2 * reach / self.largest)
        lows = self._storable(middle - scales * self.largest / 2)
        codes = ((groups - lows) / torch.where(scales > 0, scales, 1.0)).round_().clamp_(0, self.largest)
        return codes, scales, lows

    def _storable(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self.stored).float()


def _squared_error(groups: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, lows: torch.Tensor) -> torch.Tensor:
    return (codes * scales + lows - groups).square_().sum(dim=-1)
