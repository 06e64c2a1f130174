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


class Skeleton:
    """Modules whose parameters can be bound to any memory, and never compute on memory they have lost."""

    def __init__(self, name: str, folder: Path, dtype: torch.dtype) -> None:
        """Build the modules as transformers does, with all its checks.

        Raises:
            ModelDamaged: Files are missing, unreadable or do not fit together.
        """
        self.name = name
        self._folder = folder
        self.model = _from_pretrained(name, folder)
        self._places = _places(self.model)
        self.weights = [_weight(names, self.model.get_parameter(names[0]), dtype) for names in self._places]
        self._fresh: list[torch.Tensor] | None = [self.model.get_parameter(names[0]).data for names in self._places]
        self.stages = [_stage(self.model, names[0]) for names in self._places]
        """For each weight, the module whose forward pass needs it first: a layer, or what stands outside of layers."""
        self._buffers = dict(self.model.named_buffers())
        self.is_present: Callable[[], bool] = _never
        """Asked before each forward pass; whoever owns the memory sets it."""
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
            tensors = _read(self._folder, self.weights)
        except (SafetensorError, OSError) as error:
            raise _explain(self.name, self._folder, error) from error
        return tensors or self._read_as_transformers_does()

    def bind(self, tensors: Sequence[torch.Tensor], device: torch.device) -> None:
        """Let the modules compute on `tensors`, one for each weight.

        Args:
            tensors: The memory; what it holds may come later.
            device: Where it is; buffers, which are small, are copied there.
        """
        for names, tensor in zip(self._places, tensors, strict=True):
            parameter = nn.Parameter(tensor, requires_grad=False)
            for name in names:
                _set(self.model, name, parameter)
        for name, buffer in self._buffers.items():
            _set(self.model, name, buffer.to(device))
        self.is_present = _never

    def unbind(self) -> None:
        """Let go of the weights' memory."""
        for names, weight in zip(self._places, self.weights, strict=True):
            nothing = nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype, device="meta"), requires_grad=False)
            for name in names:
                _set(self.model, name, nothing)
        for name, buffer in self._buffers.items():
            _set(self.model, name, buffer)
        self.is_present = _never

    def _read_as_transformers_does(self) -> list[torch.Tensor]:
        model = _from_pretrained(self.name, self._folder)
        return [model.get_parameter(weight.names[0]).data for weight in self.weights]

    def _check(self, *_: object) -> None:
        if not self.is_present():
            raise RuntimeError(_STALE)


def _never() -> bool:
    return False


def _places(model: PreTrainedModel) -> list[tuple[str, ...]]:
    """Return the names of each parameter, in the order in which the layers run."""
    names: dict[int, tuple[str, ...]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)] = (*names.get(id(parameter), ()), name)
    return list(names.values())


def _weight(names: tuple[str, ...], parameter: nn.Parameter, dtype: torch.dtype) -> Weight:
    floating = parameter.dtype.is_floating_point
    return Weight(names=names, shape=parameter.shape, dtype=dtype if floating else parameter.dtype)


def _set(model: nn.Module, path: str, tensor: torch.Tensor) -> None:
    parent, _, name = path.rpartition(".")
    module = model.get_submodule(parent)
    if isinstance(tensor, nn.Parameter):
        module._parameters[name] = tensor  # noqa: SLF001 - `setattr` does the same after fifty times as many checks
    else:
        module._buffers[name] = tensor  # noqa: SLF001 - as above


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
