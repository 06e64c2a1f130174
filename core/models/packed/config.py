"""The facts about a decoder that its computation depends on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from core.llvm import LANES
from core.models.packed.products import ROWS
from core.models.quantize import GROUP

ARCHITECTURES = frozenset({"llama", "mistral", "phi3", "qwen2"})
"""Model types of transformers that differ only in what `DecoderConfig` says."""
_ROTATIONS = frozenset({"default", "linear", "llama3"})
"""Kinds of rotary embedding whose frequencies do not depend on the length of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Shape of a Llama-like decoder."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    feed_forward: int
    vocabulary: int
    context_length: int
    norm_epsilon: float
    windows: tuple[int | None, ...]
    """For each layer, the number of positions that a token sees, itself included; None for all."""
    frequencies: tuple[float, ...]
    """Angle by which each pair of a head turns from one position to the next."""

    @property
    def group(self) -> int:
        """Queries that share a key."""
        return self.heads // self.kv_heads

    @classmethod
    def of(cls, config: PreTrainedConfig) -> DecoderConfig:
        """Read a configuration that `why_unsupported` has no objection to."""
        head_size = _head_size(config)
        window = getattr(config, "sliding_window", None)
        kinds = getattr(config, "layer_types", None)
        slides = [window if kinds is None or kind == "sliding_attention" else None for kind in kinds or ()]
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_size=head_size,
            feed_forward=config.intermediate_size,
            vocabulary=config.vocab_size,
            context_length=config.max_position_embeddings,
            norm_epsilon=config.rms_norm_eps,
            windows=tuple(slides) or (window,) * config.num_hidden_layers,
            frequencies=tuple(_frequencies(config, head_size).tolist()),
        )


def why_unsupported(config: PreTrainedConfig) -> str | None:
    """Return why a model cannot be packed, or None if it can."""
    if config.model_type not in ARCHITECTURES:
        return f"models of the type {config.model_type} are not packed, only {', '.join(sorted(ARCHITECTURES))}"
    rope = config.rope_parameters
    problems = {
        f"its activation is {config.hidden_act}": config.hidden_act != "silu",
        "it adds biases to its outputs": any(getattr(config, name, False) for name in ("attention_bias", "mlp_bias")),
        f"its rotary embedding is of the kind {rope['rope_type']}": rope["rope_type"] not in _ROTATIONS,
        "its rotary embedding turns only a part of each head": rope.get("partial_rotary_factor", 1.0) != 1.0,
        f"its layers cannot be divided into blocks of {ROWS} rows, groups of {GROUP} weights and heads of whole vectors": not _divides(
            config
        ),
    }
    return next((reason for reason, applies in problems.items() if applies), None)


def _divides(config: PreTrainedConfig) -> bool:
    queries = config.num_attention_heads * _head_size(config)
    keys_values = 2 * config.num_key_value_heads * _head_size(config)
    rows, columns = (config.hidden_size, queries + keys_values), (queries, config.intermediate_size)
    uneven = [size % ROWS for size in rows] + [size % GROUP for size in columns] + [_head_size(config) % LANES]
    return not any(uneven)


def _head_size(config: PreTrainedConfig) -> int:
    return getattr(config, "head_dim", None) or int(config.hidden_size // config.num_attention_heads)


def _frequencies(config: PreTrainedConfig, head_size: int) -> torch.Tensor:
    rope = config.rope_parameters
    if rope["rope_type"] == "default":
        base = float(rope["rope_theta"])
        return torch.pow(base, -torch.arange(0, head_size, 2).float() / head_size)
    frequencies: torch.Tensor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, torch.device("cpu"))[0]
    return frequencies
