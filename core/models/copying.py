"""Moving bytes from the host to the memory of a device."""

from __future__ import annotations

import logging
from typing import Protocol

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

CHUNK = 32 << 20
"""Bytes that are copied at a time, and between two looks at a cancel token."""

_log = logging.getLogger(__name__)


class Copier(Protocol):
    """Copies weights; what it was given may arrive later, but in that order."""

    def begin(self) -> None:
        """Wait until computing is done that may still read what is going to be overwritten."""
        ...

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy at most `CHUNK` bytes, and change their type if they differ. Both are flat."""
        ...

    def gate(self, module: nn.Module) -> None:
        """Let the next forward pass of a module wait for all that was given so far."""
        ...

    def join(self) -> None:
        """Let all that computes from now on wait for all that was given so far."""
        ...

    def wait(self) -> None:
        """Return when all that was given has arrived."""
        ...


class HostCopier:
    """Copies within the memory of the host: what it was given has arrived when it returns."""

    def begin(self) -> None:
        """Do nothing."""

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy one chunk."""
        target.copy_(source)

    def gate(self, module: nn.Module) -> None:
        """Do nothing."""

    def join(self) -> None:
        """Do nothing."""

    def wait(self) -> None:
        """Do nothing."""


class StreamCopier:
    """Copies to a CUDA device on a stream of its own, so that first layers compute while last ones arrive."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._gates: dict[nn.Module, RemovableHandle] = {}
        self._ring = _Ring()
        self._joined = True

    def begin(self) -> None:
        """Let the stream wait for what computes now."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy one chunk; at once if the host's memory is pinned, or else when a buffer is free."""
        self._joined = False
        readable = source.is_pinned() and source.dtype == target.dtype
        with torch.cuda.stream(self._stream):
            if readable:
                target.copy_(source, non_blocking=True)
            else:
                self._ring.copy(target, source)

    def gate(self, module: nn.Module) -> None:
        """Let the stream that computes wait, once, before the module runs."""
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(self._stream)
        if module in self._gates:
            self._gates.pop(module).remove()

        def wait(*_: object) -> None:
            torch.cuda.current_stream(self._device).wait_event(arrived)
            self._gates.pop(module).remove()

        self._gates[module] = module.register_forward_pre_hook(wait)

    def join(self) -> None:
        """Let the stream that computes wait, unless it has done so since the last copy."""
        if not self._joined:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            self._joined = True

    def wait(self) -> None:
        """Return when all has arrived."""
        self._stream.synchronize()


class _Ring:
    """Two pinned buffers: one is filled while the other is read by the device."""

    def __init__(self) -> None:
        self._buffers: list[torch.Tensor] | None = None
        self._free = [torch.cuda.Event() for _ in range(2)]  # type: ignore[no-untyped-call]
        self._next = 0

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy on the current stream."""
        if self._buffers is None:
            self._buffers = _pinned(len(self._free))
        if not self._buffers:
            # What CUDA does with memory that is not pinned is slower, and done when it returns.
            target.copy_(source)
            return
        buffer, free = self._buffers[self._next], self._free[self._next]
        free.synchronize()
        staged = buffer[: target.nbytes].view(target.dtype)
        staged.copy_(source)
        target.copy_(staged, non_blocking=True)
        free.record()
        self._next = 1 - self._next


def _pinned(count: int) -> list[torch.Tensor]:
    """Return so many buffers for a chunk each, or none if the system does not allow that much pinned memory."""
    try:
        return [torch.empty(CHUNK, dtype=torch.uint8, pin_memory=True) for _ in range(count)]
    except RuntimeError as error:
        _log.warning("Weights are copied without pinned memory, which is slower: %s", error)
        return []
