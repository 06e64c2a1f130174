"""What a model folder holds, read from its headers alone.

Standard library only: this runs before torch is needed, and tells what is damaged by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ModelDamaged
from core.models.packed.facts import FOLDERS as PACKED
from core.models.packed.facts import PackFacts, read_facts
from core.settings import Device, Precision

_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_HEAD = "lm_head.weight"
PACKED_BITS = {Precision.INT4: 4, Precision.INT8: 8}
"""Of the weights that the CPU computes with, by precision."""
_MATRIX = 2
"""Dimensions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """How large a model is, whatever the precision it is loaded in."""

    parameters: int
    kv_per_token: int
    """Numbers kept for each token of context: keys and values of all layers."""
    context_length: int
    """Longest prompt plus reply, in tokens."""
    matrices: int = 0
    """Those of the parameters that can be quantised: the matrices of the layers."""
    head: int = 0
    """Those that choose the tokens; 0 if the embedding does so too."""
    largest: int = 0
    """Parameters of the largest matrix."""
    packed: PackFacts | None = None
    """What there is in 4 bits for the CPU."""


def weigh(folder: Path) -> Footprint:
    """Measure a model folder.

    Raises:
        ModelDamaged: A needed file is missing, truncated or unreadable; names the file.
    """
    config = read_json(folder / "config.json")
    _require(folder / "tokenizer.json")
    shapes = {name: shape for shard in shards(folder) for name, shape in _read_shapes(shard).items()}
    sizes = {name: math.prod(shape) for name, shape in shapes.items() if len(shape) == _MATRIX and "embed" not in name}
    head = sizes.pop(_HEAD, 0)
    context = int(config.get("max_position_embeddings") or 2048)
    heads = int(config.get("num_attention_heads") or 1)
    head_size = int(config.get("head_dim") or int(config.get("hidden_size") or 0) // heads)
    kv_heads = int(config.get("num_key_value_heads") or heads)
    layers = int(config.get("num_hidden_layers") or 0)
    return Footprint(
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        kv_per_token=2 * layers * kv_heads * head_size,
        context_length=context,
        matrices=sum(sizes.values()),
        head=head,
        largest=max([head, *sizes.values()]),
        packed=read_facts(folder),
    )


def where_stored(folder: Path, precision: Precision, device: Device) -> Path:
    """Return the folder with the weights as they are used in a precision, below the model's if they are derived."""
    if device is Device.CPU and precision in PACKED_BITS:
        return folder / PACKED[PACKED_BITS[precision]]
    return folder / f"quantised-{precision.value}" if precision in {Precision.INT8, Precision.INT4} else folder


Stamp = tuple[tuple[str, int, int], ...]
"""Names, sizes and times of change of a model's files: equal as long as nobody has changed one."""


def stamp(folder: Path) -> Stamp:
    """Return what tells whether a model folder has changed."""
    found = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    return tuple((name, facts.st_size, facts.st_mtime_ns) for name, facts in found)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelDamaged: The file is missing or holds something else.
    """
    _require(file)
    try:
        data = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(file, f"cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise damaged(file, "holds no JSON object")
    return data


def damaged(file: Path, problem: str) -> ModelDamaged:
    """Return the error about one file of a model, with the way out."""
    return ModelDamaged(
        f"The model file {file} {problem}. Install the model again: `ai-codegen-assistant models pull` "
        "checks every file and fetches what is damaged.",
        file=str(file),
    )


def _require(file: Path) -> None:
    if not file.is_file():
        raise damaged(file, "is missing")


def shards(folder: Path) -> Iterable[Path]:
    """Return the safetensors files of a model folder.

    Raises:
        ModelDamaged: The index is unreadable.
    """
    if (folder / INDEX).is_file():
        names = set(read_json(folder / INDEX).get("weight_map", {}).values())
        return [folder / str(name) for name in sorted(names)]
    return [folder / SINGLE]


def _read_shapes(shard: Path) -> dict[str, list[int]]:
    """Return the shapes of the tensors in a safetensors file, and check that all of it is there.

    Format: eight bytes with the header's length, the header as JSON, the tensors' bytes
    (https://github.com/huggingface/safetensors#format).
    """
    _require(shard)
    size = shard.stat().st_size
    with shard.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        if not 0 < length <= min(size - _LENGTH_BYTES, _LARGEST_HEADER):
            raise damaged(shard, f"has {size} bytes and no valid safetensors header")
        try:
            header = json.loads(stream.read(length))
            tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
            end = _LENGTH_BYTES + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
            shapes = {name: [int(size) for size in tensor["shape"]] for name, tensor in tensors.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(shard, f"has no valid safetensors header ({error})") from error
    if end != size:
        raise damaged(shard, f"has {size} bytes instead of {end}")
    return shapes
