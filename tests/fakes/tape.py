"""What CUDA graphs do, on the CPU: a step's operations are noted once, and are done again without its Python code.

As with a capture, an operation that would have to wait for the device is an error, tensors that
are made on the way belong to the recording, and numbers known to the host are frozen in it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from core.models.recording import Step

WAITS = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "unique")
FROM_HOST = ("lift_fresh", "lift_fresh_copy")


class TapeRecorder:
    """Implements `core.models.recording.Recorder`."""

    def __init__(self) -> None:
        self.records = 0
        self.replays = 0
        self.releases = 0
        self.operations = 0
        """What the last recorded step consists of, without mere views: about as many kernels on a GPU."""

    def record(self, step: Step) -> Step:
        step()
        tape = _Tape()
        with tape:
            output = step()
        self.records += 1
        self.operations = tape.computing
        released = self.releases

        def replay() -> torch.Tensor:
            assert self.releases == released, "what was released is run again"
            self.replays += 1
            return tape.play(output)

        return replay

    def release(self) -> None:
        self.releases += 1


class _Tape(TorchDispatchMode):
    """Notes operations, with the tensors that they read and wrote."""

    def __init__(self) -> None:
        super().__init__()
        self._operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if name(func) in WAITS or name(func) in FROM_HOST:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name(func)}")
        result = func(*args, **(kwargs or {}))
        self._operations.append((func, args, kwargs or {}, result))
        return result

    @property
    def computing(self) -> int:
        return sum(not func._schema.returns[0].alias_info or name(func).endswith("_") for func, *_ in self._operations)

    def play(self, output: torch.Tensor) -> torch.Tensor:
        made: dict[int, torch.Tensor] = {}

        def now(tensor: torch.Tensor) -> torch.Tensor:
            return made.get(id(tensor), tensor)

        for func, args, kwargs, result in self._operations:
            done = func(*tree_map_only(torch.Tensor, now, args), **tree_map_only(torch.Tensor, now, kwargs))
            for old, new in zip(_tensors(result), _tensors(done), strict=True):
                made[id(old)] = new
        return now(output)


def name(func: Any) -> str:
    return str(func.overloadpacket.__name__)


def _tensors(result: Any) -> list[torch.Tensor]:
    return [one for one in torch.utils._pytree.tree_leaves(result) if isinstance(one, torch.Tensor)]
