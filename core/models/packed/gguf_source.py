"""Weights from the blocks of a GGUF file."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch

from core.models.packed.facts import DEFAULT_BITS
from core.models.quantize import GROUP, Matrix, quantize

_Q4_0, _Q4_1, _Q4_K = (gguf.GGMLQuantizationType[name] for name in ("Q4_0", "Q4_1", "Q4_K"))
_COARSE_BITS = 7
"""Bits per weight from which a format of GGUF is kept in 8 bits; files of 4 bits mix in some of 6."""
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


class GgufSource:
    """A GGUF file; its 4-bit blocks carry over with their codes unchanged."""

    def __init__(self, file: Path, bits: int = DEFAULT_BITS) -> None:
        """Open a file.

        Args:
            file: The GGUF file.
            bits: Of matrices that have more in the file.
        """
        self._bits = bits
        reader = gguf.GGUFReader(file)
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        architecture = reader.get_field("general.architecture")
        self.interleaved = architecture is not None and architecture.contents() == "llama"

    def __contains__(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return _gguf_name(name) in self._tensors

    def matrix(self, name: str) -> Matrix:
        """Return a matrix in 4 bits if the file has not more; else in as many as were asked for, or as it is worth."""
        tensor = self._tensors[_gguf_name(name)]
        columns = int(tensor.shape[0])
        parts = _split_blocks(tensor)
        if parts is not None:
            codes, scales, lows = (np.ascontiguousarray(part) for part in parts)
            scale, low = (torch.from_numpy(part).view(-1, columns // GROUP) for part in (scales, lows))
            return Matrix(4, torch.from_numpy(codes).view(-1, columns), scale, low)
        weights = self.exact(name)
        block, size = gguf.GGML_QUANT_SIZES[tensor.tensor_type]
        floating = tensor.tensor_type.name in {"F32", "F16", "BF16"}
        return quantize(weights, self._bits if floating or 8 * size / block <= _COARSE_BITS else 8)

    def exact(self, name: str) -> torch.Tensor:
        """Return a tensor in float32."""
        tensor = self._tensors[_gguf_name(name)]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        return torch.from_numpy(np.array(values, dtype=np.float32))


def _gguf_name(name: str) -> str:
    """Translate `model.layers.3.mlp.up_proj.weight` to `blk.3.ffn_up.weight`."""
    path, _, kind = name.rpartition(".")
    if not path.startswith("model.layers."):
        return f"{_NAMES[path]}.{kind}"
    number, _, inner = path.removeprefix("model.layers.").partition(".")
    return f"blk.{number}.{_NAMES[inner]}.{kind}"


def _split_blocks(tensor: gguf.ReaderTensor) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the codes, scales and lowest values of 4-bit blocks of 32 weights; None for other formats.

    A weight is `code * scale + lowest`. Formats: `gguf.quants`, which follows ggml-common.h.
    """
    data = tensor.data.reshape(-1, gguf.GGML_QUANT_SIZES[tensor.tensor_type][1])
    if tensor.tensor_type == _Q4_0:
        scales = _halves(data[:, :2])
        return _nibbles(data[:, 2:]), scales, -8 * scales
    if tensor.tensor_type == _Q4_1:
        return _nibbles(data[:, 4:]), _halves(data[:, :2]), _halves(data[:, 2:4])
    if tensor.tensor_type == _Q4_K:
        scales, lows = gguf.quants.Q4_K.get_scale_min(data[:, 4:16])
        codes = _nibbles(data[:, 16:].reshape(-1, GROUP))
        return codes, _halves(data[:, :2]) * scales, -_halves(data[:, 2:4]) * lows
    return None


def _nibbles(data: np.ndarray) -> np.ndarray:
    """Return the codes of blocks whose bytes hold one code of their first half and one of their second."""
    return np.concatenate([data & 15, data >> 4], axis=1)


def _halves(data: np.ndarray) -> np.ndarray:
    """Read one half-precision number per block."""
    return np.ascontiguousarray(data).view(np.float16).astype(np.float32)
