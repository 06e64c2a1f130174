"""Packing a model into a folder, and opening what was packed.

One safetensors file for each layer and one for the rest, so that packing needs memory for one
layer only; read through the page cache, so that opening costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from core.cancellation import CancelToken
from core.models.packed.config import DecoderConfig
from core.models.packed.decoder import Decoder, DecoderLayer, Norm
from core.models.packed.kernel import Kernel
from core.models.packed.linear import Head, Tensors, find_kernel, open_linear, pack_matrix
from core.models.packed.sources import SafetensorsSource, WeightSource
from core.models.quantize import WHOLE, Matrix, quantize, stack
from core.models.weights import damaged

_OUTER = "outer.safetensors"
_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_LENGTH_BYTES = 8
"""A safetensors file starts with the length of its header, which may end in spaces."""
_ALIGNMENT = 64
"""Bytes that a processor reads at once."""
OnProgress = Callable[[float], None]


def pack(
    source: WeightSource, config: DecoderConfig, target: Path, on_progress: OnProgress, token: CancelToken
) -> None:
    """Write a model's weights as the kernels want them.

    Args:
        source: The weights.
        config: The model's shape.
        target: An empty folder.
        on_progress: Told how far it has got, 0 to 1.
        token: Looked at between layers.

    Raises:
        Cancelled: The token was set.
    """
    target.mkdir(parents=True, exist_ok=True)
    for number in range(config.layers):
        token.raise_if_cancelled()
        on_progress(number / (config.layers + 1))
        _write(_pack_layer(source, config, f"model.layers.{number}"), target / _layer_file(number))
    token.raise_if_cancelled()
    _write(_pack_outer(source), target / _OUTER)
    on_progress(1.0)


def open_decoder(folder: Path, exact: SafetensorsSource, config: DecoderConfig, token: CancelToken) -> Decoder:
    """Open a packed model; its weights are read when they are first used.

    Args:
        folder: What `pack` has written.
        exact: The model it was made from, for single rows of the embedding and the head.
        config: The model's shape.
        token: Looked at between layers.

    Raises:
        ModelDamaged: A file is missing or unreadable.
        Cancelled: The token was set.
    """
    kernel = find_kernel()
    layers = []
    for number in range(config.layers):
        token.raise_if_cancelled()
        layers.append(_open_layer(_read(folder / _layer_file(number)), config.norm_epsilon, kernel))
    outer = _read(folder / _OUTER)
    embedding = exact.stored(_EMBEDDING)
    head = Head(open_linear("head", outer, kernel), exact.stored(_HEAD) if _HEAD in exact else embedding)
    norm = Norm(outer["norm"], config.norm_epsilon, kernel)
    return Decoder(config, kernel, embedding=embedding, layers=layers, norm=norm, head=head)


def _pack_layer(source: WeightSource, config: DecoderConfig, layer: str) -> dict[str, torch.Tensor]:
    attention = [f"{layer}.self_attn.{part}_proj" for part in ("q", "k", "v")]
    feed_forward = [f"{layer}.mlp.{part}_proj" for part in ("gate", "up")]
    qkv = _fuse(source, attention, f"{layer}.self_attn.qkv_proj")
    bias = _fuse_biases(source, attention)
    if not source.interleaved:
        rows = _interleaved_rows(config)
        qkv = qkv.take(rows)
        bias = bias if bias is None else bias[rows]
    tensors = {
        **pack_matrix("queries_keys_values", qkv),
        **pack_matrix("attention_output", source.matrix(f"{layer}.self_attn.o_proj.weight")),
        **pack_matrix("gate_up", _fuse(source, feed_forward, f"{layer}.mlp.gate_up_proj")),
        **pack_matrix("down", source.matrix(f"{layer}.mlp.down_proj.weight")),
        "attention_norm": source.exact(f"{layer}.input_layernorm.weight"),
        "feed_forward_norm": source.exact(f"{layer}.post_attention_layernorm.weight"),
    }
    return tensors if bias is None else {**tensors, "attention_bias": bias}


def _pack_outer(source: WeightSource) -> dict[str, torch.Tensor]:
    """Pack what comes after the layers; of the head, likely tokens are computed again from exact weights."""
    head = source.exact(_HEAD if _HEAD in source else _EMBEDDING)
    return {"norm": source.exact("model.norm.weight"), **pack_matrix("head", quantize(head, 4, WHOLE))}


def _fuse(source: WeightSource, parts: list[str], whole: str) -> Matrix:
    if f"{parts[0]}.weight" in source:
        return stack([source.matrix(f"{part}.weight") for part in parts])
    return source.matrix(f"{whole}.weight")


def _fuse_biases(source: WeightSource, parts: list[str]) -> torch.Tensor | None:
    if f"{parts[0]}.bias" not in source:
        return None
    return torch.cat([source.exact(f"{part}.bias") for part in parts])


def _interleaved_rows(config: DecoderConfig) -> torch.Tensor:
    """Return the order of rows in which the halves of each query's and key's head alternate."""
    size, turned = config.head_size, config.heads + config.kv_heads
    rows = torch.arange((turned + config.kv_heads) * size)
    heads = rows[: turned * size].view(turned, 2, size // 2).transpose(1, 2)
    return torch.cat([heads.reshape(-1), rows[turned * size :]])


def _open_layer(tensors: Tensors, epsilon: float, kernel: Kernel) -> DecoderLayer:
    return DecoderLayer(
        attention_norm=Norm(tensors["attention_norm"], epsilon, kernel),
        queries_keys_values=open_linear("queries_keys_values", tensors, kernel),
        attention_bias=tensors.get("attention_bias"),
        attention_output=open_linear("attention_output", tensors, kernel),
        feed_forward_norm=Norm(tensors["feed_forward_norm"], epsilon, kernel),
        gate_up=open_linear("gate_up", tensors, kernel),
        down=open_linear("down", tensors, kernel),
    )


def _write(tensors: dict[str, torch.Tensor], file: Path) -> None:
    """Write a safetensors file whose tensors start where reading them takes the fewest accesses to memory.

    Their sizes are multiples of the alignment, so it is enough that the first one starts right.
    """
    content = memoryview(save(tensors))
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    data = _LENGTH_BYTES + length
    padding = -data % _ALIGNMENT
    with file.open("wb") as stream:
        stream.write((length + padding).to_bytes(_LENGTH_BYTES, "little"))
        stream.write(content[_LENGTH_BYTES:data])
        stream.write(b" " * padding)
        stream.write(content[data:])


def _read(file: Path) -> Tensors:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise damaged(file, f"cannot be read: {error}") from error


def _layer_file(number: int) -> str:
    return f"layer-{number:03}.safetensors"
