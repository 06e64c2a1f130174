"""A step of a model in six kernels per layer, made for it, instead of the two dozen of its modules.

The modules only say where the weights are. Needs Triton.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import nn
from transformers import PreTrainedModel

from core.models import decode_kernels as kernels
from core.models.fixed_cache import HEADER, FixedCache
from core.models.quantised_linear import Int4Linear, Int8Linear

_KINDS = ("LlamaForCausalLM", "MistralForCausalLM", "Phi3ForCausalLM", "Qwen2ForCausalLM")
"""Architectures of transformers whose layers compute the same."""
_TYPES = (torch.bfloat16, torch.float32)
"""Numbers of 16 bits with a wider range: states are multiplied before they are normalised."""
_ACTIVATIONS = ("silu", "swish")
_FAR = 1 << 30
"""More tokens than any text has."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a kernel goes through a matrix."""

    depth: int
    """Columns at a time."""
    warps: int
    stages: int
    """Parts that are on their way at once, and the one that is computed with."""


TILINGS = {16: Tiling(256, 2, 4), 8: Tiling(512, 2, 3), 4: Tiling(128, 2, 4)}
"""For each number of bits; these were the fastest on an H200."""
TILINGS_OF_PAIRS = {16: Tiling(128, 1, 4), 8: Tiling(128, 1, 4), 4: Tiling(128, 1, 4)}
"""The same for two matrices at once. Of several warps, each would do all of both products."""


class Unsupported(Exception):
    """The model computes something else than these kernels do."""


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Some rows of a linear layer's weights."""

    bits: int
    codes: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor
    bias: torch.Tensor | None

    @property
    def rows(self) -> int:
        return len(self.codes)

    def some(self, first: int, count: int) -> _Matrix:
        """Return some of the rows."""
        rows = slice(first, first + count)
        bias = None if self.bias is None else self.bias[rows]
        return _Matrix(self.bits, self.codes[rows], self.scales[rows], self.zeros[rows], bias)

    @property
    def parts(self) -> tuple[torch.Tensor, ...]:
        """What kernels want to know of it."""
        return self.codes, self.scales, self.zeros, self.codes if self.bias is None else self.bias

    def options(self, tilings: dict[int, Tiling]) -> dict[str, Any]:
        """How kernels have to read it."""
        tiling = tilings[self.bits]
        kind = {"BITS": self.bits, "BIASED": self.bias is not None, "DEPTH": tiling.depth}
        return {**kind, "num_warps": tiling.warps, "num_stages": tiling.stages}


class KernelStep:
    """Computes the steps of one model; implements `core.models.static_model.StepPass`."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Look at how a model computes.

        Raises:
            Unsupported: Not in the way in which these kernels do.
        """
        config: Any = model.config
        if type(model).__name__ not in _KINDS or config.hidden_act not in _ACTIVATIONS:
            raise Unsupported(f"{type(model).__name__} is not computed by kernels of our own")
        if model.dtype not in _TYPES:
            raise Unsupported(f"kernels of our own do not compute in {model.dtype}")
        self._model: Any = model.model
        self._head: Any = model.lm_head
        attention = self._model.layers[0].self_attn
        self._size = int(attention.head_dim)
        self._heads = int(config.num_attention_heads)
        self._kv_heads = int(config.num_key_value_heads)
        self._width = int(config.hidden_size)
        rotary = self._model.rotary_emb
        if (
            2 * rotary.inv_freq.shape[-1] != self._size
            or self._size % (2 * kernels.BLOCK)
            or self._width % kernels.BLOCK
        ):
            raise Unsupported(
                "only heads of which all is turned, in multiples of 32, are computed by kernels of our own"
            )
        if "dynamic" in rotary.rope_type:
            raise Unsupported("rotary frequencies that depend on the text's length cannot be prepared")
        self._angles: tuple[torch.Tensor, torch.Tensor] | None = None

    def compute(self, places: torch.Tensor, reach: int, cache: FixedCache) -> torch.Tensor:
        """Read at most 16 tokens; see `StepPass.compute`. The logits are float32, and have 16 rows."""
        width, device, dtype = self._width, places.device, self._model.embed_tokens.weight.dtype
        cosines, sines = self._find_angles(cache.capacity, device)
        parts = -(-reach // kernels.SPLIT)

        def numbers(*shape: int, kind: torch.dtype = dtype) -> torch.Tensor:
            return torch.empty(shape, dtype=kind, device=device)

        rows = kernels.TOKENS
        states, scaled = numbers(rows, width), numbers(rows, width)
        squares = numbers(rows, width // kernels.BLOCK, kind=torch.float32)
        queries, gathered = numbers(rows, self._heads * self._size), numbers(rows, self._heads * self._size)
        sums = numbers(parts, self._heads, rows, self._size, kind=torch.float32)
        tops, totals = (numbers(parts, self._heads, rows, kind=torch.float32) for _ in range(2))
        handed = (states, scaled, squares)
        layers = list(self._model.layers)
        epsilon = layers[0].input_layernorm.variance_epsilon
        blocks = triton.cdiv(width, kernels.BLOCK)
        kernels.embed[(blocks,)](
            places, self._model.embed_tokens.weight, layers[0].input_layernorm.weight, *handed, width
        )
        gains = [layer.input_layernorm.weight for layer in layers[1:]] + [self._model.norm.weight]
        half_blocks = self._size // 2 // kernels.BLOCK
        for number, (layer, gain) in enumerate(zip(layers, gains, strict=True)):
            window = cache.window_of(number) or _FAR
            kept = cache.kept(number)
            query, key, value = _asking(layer.self_attn, self._heads * self._size, self._kv_heads * self._size)
            kernels.ask[((self._heads + 2 * self._kv_heads) * half_blocks,)](
                places, scaled, squares, *query.parts, *key.parts, *value.parts,
                cosines, sines, cosines.shape[1], self._short,
                queries, *kept, self._heads, self._kv_heads, cache.capacity, width, epsilon,
                SIZE=self._size, **query.options(TILINGS_OF_PAIRS),
            )  # fmt: skip
            padded = triton.next_power_of_2(self._size)
            kernels.attend[(self._heads, parts)](
                places, queries, *kept, sums, tops, totals,
                self._heads, self._kv_heads, cache.capacity, window, layer.self_attn.scaling,
                SIZE=self._size, PADDED=padded,
            )  # fmt: skip
            kernels.merge[(self._heads, len(places) - HEADER)](
                places, sums, tops, totals, gathered, self._heads, window, SIZE=self._size, PADDED=padded
            )
            output = _matrix(layer.self_attn.o_proj)
            after: torch.Tensor = layer.post_attention_layernorm.weight
            kernels.add[(blocks,)](
                places,
                gathered,
                *output.parts,
                after,
                *handed,
                width,
                self._heads * self._size,
                **output.options(TILINGS),
            )
            gate, wide = _gates(layer.mlp)
            opened = numbers(rows, gate.rows)
            kernels.open_gates[(triton.cdiv(gate.rows, kernels.BLOCK),)](
                places,
                scaled,
                squares,
                *gate.parts,
                *wide.parts,
                opened,
                gate.rows,
                width,
                epsilon,
                **gate.options(TILINGS_OF_PAIRS),
            )
            narrow = _matrix(layer.mlp.down_proj)
            kernels.add[(blocks,)](
                places, opened, *narrow.parts, gain, *handed, width, gate.rows, **narrow.options(TILINGS)
            )
        head = _matrix(self._head)
        logits = numbers(rows, head.rows, kind=torch.float32)
        kernels.predict[(triton.cdiv(head.rows, kernels.BLOCK),)](
            places, scaled, squares, *head.parts, logits, head.rows, width, epsilon, **head.options(TILINGS)
        )
        return logits

    @property
    def _short(self) -> int:
        """Length of the texts that have other rotary frequencies than longer ones."""
        rotary = self._model.rotary_emb
        if rotary.rope_type != "longrope":
            return _FAR
        return int(rotary.config.rope_parameters["original_max_position_embeddings"])

    def _find_angles(self, capacity: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines, each of shape (2, places, half a head): of short texts, and of long ones."""
        if self._angles is None or self._angles[0].shape[1] < capacity:
            rotary, states = self._model.rotary_emb, self._model.embed_tokens.weight[:1]
            place = torch.arange(capacity, device=device)
            # For texts of the one length, and of the other.
            short = rotary(states, place.clamp(max=self._short - 1)[None])
            long = rotary(states, place[None])
            pairs = [torch.cat(both)[..., : self._size // 2].contiguous() for both in zip(short, long, strict=True)]
            self._angles = pairs[0], pairs[1]
        return self._angles


def _asking(attention: Any, asked: int, kept: int) -> tuple[_Matrix, _Matrix, _Matrix]:
    """Return what gives queries, keys and values."""
    if hasattr(attention, "qkv_proj"):
        both = _matrix(attention.qkv_proj)
        return both.some(0, asked), both.some(asked, kept), both.some(asked + kept, kept)
    return _matrix(attention.q_proj), _matrix(attention.k_proj), _matrix(attention.v_proj)


def _gates(mlp: Any) -> tuple[_Matrix, _Matrix]:
    if hasattr(mlp, "gate_up_proj"):
        both = _matrix(mlp.gate_up_proj)
        return both.some(0, both.rows // 2), both.some(both.rows // 2, both.rows // 2)
    return _matrix(mlp.gate_proj), _matrix(mlp.up_proj)


def _matrix(layer: nn.Module) -> _Matrix:
    """Return a layer's weights, where they are."""
    bias: Any = layer.bias
    if isinstance(layer, Int4Linear):
        return _Matrix(4, layer.codes, layer.scales, layer.zeros, bias)
    if isinstance(layer, Int8Linear):
        return _Matrix(8, layer.codes, layer.scales, layer.scales, bias)
    weight: Any = layer.weight
    return _Matrix(16, weight, weight, weight, bias)
