"""Quantised weights as they are stored beside a model: made once, since making them at each load would be slow.

They are derived: no part of what was installed, and made again if the model's own files have changed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from core import codec
from core.cancellation import CancelToken
from core.errors import InvalidParams, StorageFailed
from core.models.quantised_linear import quantisable, replace_linears
from core.models.weights import INDEX, shards, where_stored
from core.settings import Device, Precision

FORMAT = 1
_FACTS = "quantised.json"
"""Written last."""
_SHARD = 512 << 20
"""Bytes from which on a file is full: what must be in memory at a time."""
OnFraction = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What there is, and what it was made of."""

    format: int
    sources: dict[str, list[int]]
    """Sizes and times of change of the model's own files."""
    files: dict[str, int]
    """Bytes by name."""


def quantise(model: nn.Module, folder: Path, precision: Precision, on_fraction: OnFraction, token: CancelToken) -> Path:
    """Quantise a model's linear layers, unless that was done before, and let the modules be what the weights are for.

    Args:
        model: As it is loaded from its folder; afterwards it lacks the weights of those layers.
        folder: The model's.
        precision: `INT8` or `INT4`.
        on_fraction: Told how far it has got, 0 to 1.
        token: Looked at between layers.

    Returns:
        The folder with all weights, those that are not quantised included.

    Raises:
        StorageFailed: There is no room for them.
        Cancelled: The token was set.
    """
    target = where_stored(folder, precision, Device.AUTO)
    if not _is_complete(target, folder):
        partial = folder / f".{target.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            _write(model, partial, precision, on_fraction, token)
            _declare(partial, folder)
            shutil.rmtree(target, ignore_errors=True)
            partial.replace(target)
        except (OSError, SafetensorError) as error:
            raise StorageFailed(
                f"The model in {folder} cannot be quantised: {getattr(error, 'strerror', None) or error}. Free some room there, or "
                "choose another precision or device.",
                folder=str(folder),
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    replace_linears(model, precision)
    return target


def _write(model: nn.Module, target: Path, precision: Precision, on_fraction: OnFraction, token: CancelToken) -> None:
    places: dict[str, str] = {}
    batch: dict[str, torch.Tensor] = {}
    total = sum(parameter.numel() for parameter in model.parameters())
    done = 0

    def close() -> None:
        name = f"model-{len(set(places.values())) + 1:05}.safetensors"
        save_file(batch, target / name)
        places.update(dict.fromkeys(batch, name))
        batch.clear()

    for tensors, size in _quantised(model, precision):
        token.raise_if_cancelled()
        batch.update(tensors)
        done += size
        on_fraction(done / total)
        if sum(tensor.nbytes for tensor in batch.values()) >= _SHARD:
            close()
    if batch:
        close()
    (target / INDEX).write_text(json.dumps({"weight_map": places}) + "\n", "utf-8")


def _quantised(model: nn.Module, precision: Precision) -> Iterator[tuple[dict[str, torch.Tensor], int]]:
    """Yield the tensors of each layer or weight, and how many numbers they stand for."""
    kinds = {f"{name}.weight": kind for name, _, kind in quantisable(model, precision)}
    with torch.inference_mode():
        for name, parameter in model.named_parameters():
            prefix = name.removesuffix("weight")
            if name in kinds:
                tensors = kinds[name].quantise(parameter.data)
                yield {f"{prefix}{part}": tensor.contiguous() for part, tensor in tensors.items()}, parameter.numel()
            else:
                yield {name: parameter.data.contiguous()}, parameter.numel()


def _declare(partial: Path, folder: Path) -> None:
    files = {file.name: file.stat().st_size for file in sorted(partial.iterdir())}
    facts = _Facts(format=FORMAT, sources=_sources(folder), files=files)
    (partial / _FACTS).write_text(json.dumps(codec.encode(facts)) + "\n", "utf-8")


def _is_complete(target: Path, folder: Path) -> bool:
    try:
        facts = codec.decode(_Facts, json.loads((target / _FACTS).read_text("utf-8")))
        complete = all((target / name).stat().st_size == size for name, size in facts.files.items())
    except (OSError, ValueError, InvalidParams):
        return False
    return complete and facts.format == FORMAT and facts.sources == _sources(folder)


def _sources(folder: Path) -> dict[str, list[int]]:
    found = {shard.name: shard.stat() for shard in shards(folder)}
    return {name: [one.st_size, one.st_mtime_ns] for name, one in found.items()}
