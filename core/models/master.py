"""Where an arena's weights come from: the files, or a copy in memory that the device can read itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import psutil
import torch

from core.cancellation import CancelToken
from core.models.arena import aligned
from core.models.skeleton import Skeleton

_SPARE = 2
"""A copy is made only if so many times its size is available: the rest of the system comes first."""


class Masters(Protocol):
    """Gives the weights of models, in host memory."""

    def read(self, skeleton: Skeleton, token: CancelToken) -> Sequence[torch.Tensor]:
        """Return a tensor for each weight of the skeleton."""
        ...

    def release(self, skeleton: Skeleton) -> None:
        """Forget a copy of a model's weights."""
        ...


class FileMasters:
    """The files are the master; the page cache keeps them at hand."""

    def read(self, skeleton: Skeleton, token: CancelToken) -> Sequence[torch.Tensor]:
        """Return views of the files."""
        return skeleton.read()

    def release(self, skeleton: Skeleton) -> None:
        """Do nothing."""


class PinnedMasters:
    """Keeps a page-locked copy of each model for which there is plenty of memory.

    A copy takes exactly the memory it needs; torch's allocator of pinned memory would round to a
    power of two (https://github.com/pytorch/pytorch/issues/95823).
    """

    def __init__(self) -> None:
        self._copies: dict[Skeleton, torch.Tensor] = {}

    def read(self, skeleton: Skeleton, token: CancelToken) -> Sequence[torch.Tensor]:
        """Return views of the copy, or of the files if there is not enough memory for one."""
        if skeleton not in self._copies:
            size = sum(aligned(weight.bytes) for weight in skeleton.weights)
            if psutil.virtual_memory().available < _SPARE * size:
                return skeleton.read()
            copy = _copy(skeleton, size, token)
            if not _pin(copy):
                return _views(skeleton, copy)
            self._copies[skeleton] = copy
        return _views(skeleton, self._copies[skeleton])

    def release(self, skeleton: Skeleton) -> None:
        """Give a copy's memory back."""
        copy = self._copies.pop(skeleton, None)
        if copy is not None:
            torch.cuda.cudart().cudaHostUnregister(copy.data_ptr())  # type: ignore[no-untyped-call]


def _copy(skeleton: Skeleton, size: int, token: CancelToken) -> torch.Tensor:
    copy = torch.empty(size, dtype=torch.uint8)
    for target, source in zip(_views(skeleton, copy), skeleton.read(), strict=True):
        token.raise_if_cancelled()
        target.copy_(source)
    return copy


def _pin(copy: torch.Tensor) -> bool:
    """Lock memory; False if the system does not allow that much."""
    return int(torch.cuda.cudart().cudaHostRegister(copy.data_ptr(), copy.nbytes, 0)) == 0  # type: ignore[no-untyped-call]


def _views(skeleton: Skeleton, copy: torch.Tensor) -> list[torch.Tensor]:
    views, start = [], 0
    for weight in skeleton.weights:
        views.append(copy[start : start + weight.bytes].view(weight.dtype).view(weight.shape))
        start += aligned(weight.bytes)
    return views
