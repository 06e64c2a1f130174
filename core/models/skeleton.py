"""A model's modules, which stay while its weights come and go.

Building the modules and reading the tokenizer is most of what loading a model costs once its
files are in the page cache, so both are done once per model. In between, the parameters are
on the device `meta`, or views of memory that others may overwrite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from core.errors import ModelDamaged
from core.models.weights import shards

_STALE = "a forward pass was started on weights that are not in memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One tensor of a model, at all places where it is used."""

    names: tuple[str, ...]
    """More than one if weights are tied."""
    shape: torch.Size
    dtype: torch.dtype
    """In memory, whatever it is in the file."""

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return self.shape.numel() * self.dtype.itemsize


Rewrite = Callable[[PreTrainedModel], Path]


class Skeleton:
    """Modules whose parameters can be bound to any memory, and never compute on memory they have lost."""

    def __init__(self, name: str, folder: Path, dtype: torch.dtype, rewrite: Rewrite | None = None) -> None:
        """Build the modules as transformers does, with all its checks.

        Args:
            name: The model's, for people.
            folder: The model's.
            dtype: What it computes in.
            rewrite: Gives the modules other weights, and returns the folder that holds them.

        Raises:
            ModelDamaged: Files are missing, unreadable or do not fit together.
        """
        self.name = name
        self.model = _from_pretrained(name, folder)
        self._folder = rewrite(self.model) if rewrite else folder
        parameters = _named(self.model)
        self.weights = [_describe(names, parameter, dtype) for names, parameter in parameters]
        self._fresh: list[torch.Tensor] | None = None if rewrite else [parameter.data for _, parameter in parameters]
        self._places = [[_owner(self.model, name) for name in names] for names, _ in parameters]
        self._nothing = [_on_meta(weight) for weight in self.weights]
        self.stages = [_stage(self.model, weight.names[0]) for weight in self.weights]
        """For each weight, the module whose forward pass needs it first: a layer, or what stands outside of layers."""
        self._buffers = {_owner(self.model, name): buffer for name, buffer in self.model.named_buffers()}
        self.is_present: Callable[[], bool] = _never
        """Asked before each forward pass; whoever owns the memory sets it."""
        self.join: Callable[[], None] = _go_on
        """Lets what computes next wait for weights that are on their way; whoever owns the memory sets it."""
        self.moves = 0
        """Raised whenever weights and buffers get another address: whatever knows the old one must forget it."""
        self.model.config.dtype = dtype
        self.model.register_forward_pre_hook(self._check)
        self.unbind()

    @property
    def bytes(self) -> int:
        """Size of all weights in memory."""
        return sum(weight.bytes for weight in self.weights)

    def read(self) -> list[torch.Tensor]:
        """Return the weights as they are in the files, on the CPU, without copying where that is possible.

        Raises:
            ModelDamaged: The files have changed and do not fit any more.
        """
        if self._fresh is not None:
            tensors, self._fresh = self._fresh, None
            return tensors
        try:
            found = _read(self._folder, self.weights)
        except (SafetensorError, OSError) as error:
            raise _explain(self.name, self._folder, error) from error
        return found or self._read_as_transformers_does()

    def bind(self, tensors: Sequence[torch.Tensor], device: torch.device) -> None:
        """Let the modules compute on `tensors`, one for each weight.

        Args:
            tensors: The memory; what it holds may come later.
            device: Where it is; buffers, which are small, are copied there.
        """
        self._put([nn.Parameter(tensor, requires_grad=False) for tensor in tensors])
        for (module, name), buffer in self._buffers.items():
            setattr(module, name, buffer.to(device))
        self._moved()

    def unbind(self) -> None:
        """Let go of the weights' memory."""
        self._put(self._nothing)
        for (module, name), buffer in self._buffers.items():
            setattr(module, name, buffer)
        self._moved()

    def require(self) -> None:
        """Let what computes next wait until all weights have arrived.

        Modules do so by themselves when they run; a recorded step does not run them.

        Raises:
            RuntimeError: They are not in memory.
        """
        self._check()
        self.join()

    def _moved(self) -> None:
        self.is_present, self.join = _never, _go_on
        self.moves += 1

    def _put(self, parameters: Sequence[nn.Parameter]) -> None:
        for places, parameter in zip(self._places, parameters, strict=True):
            for module, name in places:
                # `setattr` does the same after fifty times as many checks.
                module._parameters[name] = parameter  # noqa: SLF001

    def _read_as_transformers_does(self) -> list[torch.Tensor]:
        model = _from_pretrained(self.name, self._folder)
        return [model.get_parameter(weight.names[0]).data for weight in self.weights]

    def _check(self, *_: object) -> None:
        if not self.is_present():
            raise RuntimeError(_STALE)


def _never() -> bool:
    return False


def _go_on() -> None:
    """Wait for nothing."""


def _named(model: PreTrainedModel) -> list[tuple[tuple[str, ...], nn.Parameter]]:
    """Return each parameter with all its names, in the order in which the layers run."""
    names: dict[nn.Parameter, tuple[str, ...]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[parameter] = (*names.get(parameter, ()), name)
    return [(all_names, parameter) for parameter, all_names in names.items()]


def _describe(names: tuple[str, ...], parameter: nn.Parameter, dtype: torch.dtype) -> Weight:
    floating = parameter.dtype.is_floating_point
    return Weight(names=names, shape=parameter.shape, dtype=dtype if floating else parameter.dtype)


def _on_meta(weight: Weight) -> nn.Parameter:
    return nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype, device="meta"), requires_grad=False)


def _owner(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Return the module that holds a tensor, and its name there."""
    parent, _, name = path.rpartition(".")
    return model.get_submodule(parent), name


def _stage(model: nn.Module, path: str) -> nn.Module:
    """Return the outermost layer that a parameter belongs to, or the module that holds it."""
    module = model
    for part in path.split(".")[:-1]:
        inside_list = isinstance(module, nn.ModuleList)
        module = module.get_submodule(part)
        if inside_list:
            return module
    return module


def _read(folder: Path, weights: Sequence[Weight]) -> list[torch.Tensor] | None:
    """Read weights by name; None if transformers renames or reshapes them while it loads them."""
    wanted = {name: index for index, weight in enumerate(weights) for name in weight.names}
    found: dict[int, torch.Tensor] = {}
    for shard in shards(folder):
        with safe_open(shard, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                if name in wanted:
                    found[wanted[name]] = opened.get_tensor(name)
    complete = all(index in found and found[index].shape == one.shape for index, one in enumerate(weights))
    return [found[index] for index in range(len(weights))] if complete else None


def _from_pretrained(name: str, folder: Path) -> PreTrainedModel:
    """Load a model as it is in its files: nothing is fetched, no code of the folder is run, no pickle is read."""
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype="auto",
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise _explain(name, folder, error) from error
    model: PreTrainedModel = loaded[0]
    report: dict[str, Any] = loaded[1]
    if missing := sorted(report["missing_keys"]):
        raise _explain(name, folder, f"its files lack the weights {', '.join(missing[:3])}")
    return model.eval()  # type: ignore[no-untyped-call,no-any-return]


def _explain(name: str, folder: Path, problem: object) -> ModelDamaged:
    reason = str(problem).strip().partition("\n")[0].rstrip(".") or type(problem).__name__
    return ModelDamaged(
        f"The model {name} in {folder} cannot be loaded: {reason}. Install it again: "
        "`ai-codegen-assistant models pull` checks every file and fetches what is damaged.",
        model=name,
        folder=str(folder),
    )
