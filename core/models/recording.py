"""Running the same step of a model again without starting its hundreds of kernels one by one.

On a GPU, starting kernels from Python takes longer than a small model's step itself. A step that
always reads and writes the same memory can be captured once and be replayed as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import torch

Step = Callable[[], torch.Tensor]
"""Computes from memory that stays where it is; what it returns is valid until it, or another one, runs again."""
_WARM_UPS = 2
"""Runs before a capture: what libraries set up in the first ones must not be captured."""


class Recorder(Protocol):
    """Makes steps quick to repeat."""

    def record(self, step: Step) -> Step:
        """Return what does the same as a step, on the same memory. The step may be run for that.

        Raises:
            Exception: The step cannot be recorded on this device. It can still be run as it is.
        """
        ...

    def release(self) -> None:
        """Give the memory of all that was recorded back; none of it may be run any more."""
        ...


class DirectRecorder:
    """Repeats a step by running it."""

    def record(self, step: Step) -> Step:
        """Return the step itself."""
        return step

    def release(self) -> None:
        """Do nothing."""


class GraphRecorder:
    """Captures steps as CUDA graphs.

    They share memory: only one runs at a time, and none needs what another has left there.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graphs: list[torch.cuda.CUDAGraph] = []
        self._pool: Any = None

    def record(self, step: Step) -> Step:
        """Warm up and capture on a stream of its own; see `Recorder.record`.

        The stream is the same for all: what libraries keep for each stream is made in the first
        warm-up, outside of a capture.
        """
        self._warm_up(step)
        graph = torch.cuda.CUDAGraph()
        # A pool lives as long as a graph of it does: when the last one has gone, a new one is needed.
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        # `torch.cuda.graph` would leave its own stream the current one if the end of a capture failed.
        with torch.cuda.stream(self._stream):
            # Other threads may use the device meanwhile.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            # Kept also if it fails, so that the memory it took is given back with that of the others.
            self._graphs.append(graph)
            try:
                output = step()
            finally:
                self._end(graph)

        def replay() -> torch.Tensor:
            graph.replay()
            return output

        return replay

    def release(self) -> None:
        """Wait until the last replay is over, and forget the graphs."""
        torch.cuda.current_stream(self._device).synchronize()
        for graph in self._graphs:
            graph.reset()
        self._graphs.clear()
        self._pool = None

    def _end(self, graph: torch.cuda.CUDAGraph) -> None:
        try:
            graph.capture_end()
        except RuntimeError:
            # torch would go on giving this pool's memory to captures, and would not empty its cache.
            index = torch.cuda.current_device()
            with suppress(RuntimeError, AttributeError):  # it has done so; or torch has other names for it
                torch._C._cuda_endAllocateToPool(index, self._pool)  # noqa: SLF001
                torch._C._cuda_releasePool(index, self._pool)  # noqa: SLF001
            raise

    def _warm_up(self, step: Step) -> None:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                step()
        current.wait_stream(self._stream)
        torch.cuda.synchronize(self._device)
