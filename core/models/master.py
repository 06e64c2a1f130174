"""Where an arena's weights come from: the files, or a copy in memory that the device can read itself."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Collection, Sequence
from contextlib import suppress
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

    def release(self, but: Collection[Skeleton] = ()) -> None:
        """Forget the copies of all models' weights but some."""
        ...


class FileMasters:
    """The files are the master; the page cache keeps them at hand."""

    def read(self, skeleton: Skeleton, token: CancelToken) -> Sequence[torch.Tensor]:
        """Return views of the files."""
        return skeleton.read()

    def release(self, but: Collection[Skeleton] = ()) -> None:
        """Do nothing."""


class PageLock(Protocol):
    """Keeps memory of the host where it is, so that a device can read it by itself."""

    def lock(self, address: int, size: int) -> bool:
        """Lock memory; False if the system does not allow that much."""
        ...

    def unlock(self, address: int) -> None:
        """Let the system have locked memory again, before it is given back."""
        ...


class CudaPageLock:
    """Locks memory for CUDA devices."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def lock(self, address: int, size: int) -> bool:
        """Lock memory; False if the system does not allow that much."""
        locked = int(torch.cuda.cudart().cudaHostRegister(address, size, 0)) == 0  # type: ignore[no-untyped-call]
        if not locked:
            self._forget_error()
        return locked

    def unlock(self, address: int) -> None:
        """Let the system have locked memory again."""
        if int(torch.cuda.cudart().cudaHostUnregister(address)) != 0:  # type: ignore[no-untyped-call]
            self._forget_error()

    def _forget_error(self) -> None:
        """Start a kernel: the first one after a refusal would be blamed for it."""
        with suppress(RuntimeError):
            torch.ones(1, device=self._device)


class PinnedMasters:
    """Keeps a page-locked copy of each model for which there is plenty of memory.

    A copy takes exactly the memory it needs; torch's allocator of pinned memory would round to a
    power of two (https://github.com/pytorch/pytorch/issues/95823).
    """

    def __init__(self, pages: PageLock) -> None:
        self._pages = pages
        self._copies: dict[Skeleton, _Copy] = {}
        self._refused: int | None = None
        """Bytes that the system would not lock: trying so much again would cost as much as a load."""

    def read(self, skeleton: Skeleton, token: CancelToken) -> Sequence[torch.Tensor]:
        """Return views of the copy, or of the files if there is not enough memory for one."""
        if skeleton not in self._copies and self._has_room(_size(skeleton)):
            self._make(skeleton, token)
        return self._copies[skeleton].views if skeleton in self._copies else skeleton.read()

    def release(self, but: Collection[Skeleton] = ()) -> None:
        """Give the memory of copies back."""
        for skeleton in [one for one in self._copies if one not in but]:
            self._copies.pop(skeleton).release()

    def _has_room(self, size: int) -> bool:
        allowed = self._refused is None or size < self._refused
        return allowed and psutil.virtual_memory().available >= _SPARE * size

    def _make(self, skeleton: Skeleton, token: CancelToken) -> None:
        size = _size(skeleton)
        try:
            memory = _allocate(size)
        except OSError:
            self._refused = size
            return
        copy = _Copy(skeleton, memory, self._pages)
        copy.fill(skeleton.read(), token)
        if copy.lock():
            self._copies[skeleton] = copy
        else:
            self._refused = size


class _Copy:
    """One model's weights, one after the other."""

    def __init__(self, skeleton: Skeleton, memory: torch.Tensor, pages: PageLock) -> None:
        self._memory = memory
        self._pages = pages
        self.views: list[torch.Tensor] = []
        start = 0
        for weight in skeleton.weights:
            self.views.append(memory[start : start + weight.bytes].view(weight.dtype).view(weight.shape))
            start += aligned(weight.bytes)

    def fill(self, sources: Sequence[torch.Tensor], token: CancelToken) -> None:
        """Copy the weights."""
        for target, source in zip(self.views, sources, strict=True):
            token.raise_if_cancelled()
            target.copy_(source)

    def lock(self) -> bool:
        """Lock the memory; False if the system does not allow that much."""
        address = self._memory.data_ptr()
        if not self._pages.lock(address, self._memory.nbytes):
            return False
        # However a copy ends: memory that is locked and given back could not be locked for the next one.
        self._unlock = weakref.finalize(self, self._pages.unlock, address)
        self._unlock.atexit = False
        return True

    def release(self) -> None:
        """Unlock the memory, and forget it."""
        self._unlock()
        self.views.clear()


def _size(skeleton: Skeleton) -> int:
    return sum(aligned(weight.bytes) for weight in skeleton.weights)


def _allocate(size: int) -> torch.Tensor:
    """Return memory that begins with a page and has pages of its own, large ones if there are such: fewer to lock.

    Raises:
        OSError: There is not so much.
    """
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)
