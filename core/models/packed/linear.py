"""Matrix products with packed weights, by torch's kernels for the CPU.

The 4-bit kernel wants its codes in an order that depends on the processor's instruction set. That
order is stored with the weights, and found here by packing a matrix of known codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Protocol

import torch
from torch.nn import functional

from core.models.packed.quantize import CENTRE, GROUP, Int8Matrix, Matrix

ROWS = 64
"""Largest block of rows of the 4-bit kernel; matrices are filled up to a multiple of it."""
_ALIKE = 4
"""Rows from which on torch's products treat each row the same, however many there are."""
_SCRATCH = 1 << 21
"""Weights that are unpacked at a time: what stays in the cache of a processor."""
_AT_ONCE = 64 * ROWS
"""Rows that are packed at a time, which bounds the memory for their codes in 32 bits."""
_LIKELY = 64
"""Tokens whose logits are computed exactly; the likeliest of all was never beyond the tenth in four bits."""
_FOLDS = 16
"""Parts of the vocabulary that are laid on top of each other to find the likely tokens."""
_HALF = 4
_LOW = 15

Tensors = Mapping[str, torch.Tensor]


class Linear(Protocol):
    """A layer that multiplies by its weights, filled up to a multiple of `ROWS` rows.

    The result for a token does not depend on the others. In its last digits, it does on whether
    the token is one of few or of many.
    """

    def multiply_few(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map bfloat16 (tokens, columns) to bfloat16 (tokens, rows), in the time of reading the weights."""
        ...

    def multiply_many(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map bfloat16 (tokens, columns) to bfloat16 (tokens, rows), with the least time for each token."""
        ...


class Int4Linear:
    """Weights in groups of 32 with a scale and a zero, 5 bits each in all."""

    def __init__(self, packed: torch.Tensor, scales_zeros: torch.Tensor) -> None:
        self._packed = packed
        self._scales_zeros = scales_zeros

    def multiply_few(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply by packed weights; see `Linear.multiply_few`."""
        return torch._weight_int4pack_mm_for_cpu(inputs, self._packed, GROUP, self._scales_zeros)  # noqa: SLF001

    def multiply_many(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply by weights of which some rows at a time are unpacked; see `Linear.multiply_many`."""
        filled = _fill_up(inputs).to(product_type())
        count, columns = self._packed.shape[0], inputs.shape[1]
        outputs = inputs.new_empty(len(filled), count)
        scales_zeros = self._scales_zeros.to(product_type())
        step = max(1, _SCRATCH // (columns * ROWS)) * ROWS
        for start in range(0, count, step):
            end = min(start + step, count)
            rows = _rows_as_packed(start, end)
            outputs[:, rows] = filled @ self._unpack(start, end, scales_zeros[:, rows])
        return outputs[: len(inputs)]

    def _unpack(self, start: int, end: int, scales_zeros: torch.Tensor) -> torch.Tensor:
        """Return the weights of some blocks of rows, in the order they are packed in; shape (columns, rows)."""
        half = len(row_order()) // 2
        columns = 2 * self._packed.shape[1]
        blocks = self._packed[start:end].view(-1, columns, half)
        weights = torch.empty(columns, blocks.shape[0], 2, half, dtype=scales_zeros.dtype)
        by_block = weights.permute(1, 0, 2, 3)
        by_block[:, :, 0] = (blocks & _LOW).view(torch.int8).sub_(CENTRE)
        by_block[:, :, 1] = (blocks >> _HALF).view(torch.int8).sub_(CENTRE)
        # Ten times as fast as with every other number of what they are stored in.
        scales, zeros = (part.contiguous() for part in scales_zeros[:, None].unbind(-1))
        grouped = weights.view(columns // GROUP, GROUP, end - start)
        torch.addcmul(zeros, grouped, scales, out=grouped)
        return weights.view(columns, end - start)


class Int8Linear:
    """Weights of 8 bits, with a scale for each row."""

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor) -> None:
        self._codes = codes
        self._scales = scales

    def multiply_few(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply by packed weights; see `Linear.multiply_few`."""
        return torch._weight_int8pack_mm(inputs, self._codes, self._scales)  # noqa: SLF001

    def multiply_many(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply by weights that are unpacked first; see `Linear.multiply_many`."""
        kind = product_type()
        outputs = functional.linear(_fill_up(inputs).to(kind), self._codes.to(kind))
        return outputs[: len(inputs)].to(inputs.dtype).mul_(self._scales)


class Head:
    """Predicts tokens: coarsely for the whole vocabulary, then exactly for those that are likely.

    A matrix of the vocabulary's size is a fifth of what a small model reads for each token. Four
    bits alone would change one greedy token in seven of the smallest model; computed again from
    exact weights for the likely tokens, all stay the same.
    """

    def __init__(self, coarse: Linear, exact: torch.Tensor) -> None:
        """Take the matrix in both forms.

        Args:
            coarse: The packed matrix; rows beyond the vocabulary are ignored.
            exact: The matrix in any precision, shape (vocabulary, columns); only rows of likely tokens are read.
        """
        self._coarse = coarse
        self._exact = exact

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map bfloat16 (tokens, columns) to logits, float32 (tokens, vocabulary)."""
        vocabulary = self._exact.shape[0]
        logits = self._coarse.multiply_few(hidden).float()
        logits[:, vocabulary:] = -math.inf
        likely = _find_largest(logits, min(_LIKELY, vocabulary))
        # One by one: the last digits of a batched product depend on the size of the batch.
        exact = [self._exact[rows].float() @ one for rows, one in zip(likely, hidden.float(), strict=True)]
        return logits.scatter_(1, likely, torch.stack(exact))[:, :vocabulary]


def _find_largest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Return where the largest numbers of each row are, in any order; shape (rows, count).

    They are all in those columns of the folded row whose maxima are largest. To look for these first
    takes half the time.
    """
    rows, size = values.shape
    columns = size // _FOLDS
    best = values.view(rows, _FOLDS, columns).amax(dim=1).topk(min(count, columns), sorted=False).indices
    candidates = (best[:, None] + torch.arange(0, size, columns)[:, None]).flatten(1)
    largest: torch.Tensor = values.gather(1, candidates).topk(count, sorted=False).indices
    return candidates.gather(1, largest)


def _fill_up(inputs: torch.Tensor) -> torch.Tensor:
    """Add rows of zeros until there are as many as are treated alike."""
    missing = _ALIKE - len(inputs)
    return functional.pad(inputs, (0, 0, 0, missing)) if missing > 0 else inputs


def pack_matrix(name: str, matrix: Matrix) -> dict[str, torch.Tensor]:
    """Return the tensors that `open_linear` makes a layer from, filled up with rows of zeros."""
    missing = -matrix.codes.shape[0] % ROWS
    codes = functional.pad(matrix.codes, (0, 0, 0, missing))
    if isinstance(matrix, Int8Matrix):
        scales = functional.pad(matrix.scales, (0, missing)).to(torch.bfloat16)
        return {f"{name}.int8": codes.contiguous(), f"{name}.scales": scales}
    packed = torch.cat([_pack_codes(part.int()) for part in torch.split(codes, _AT_ONCE)])
    both = functional.pad(torch.stack([matrix.scales.t(), matrix.zeros.t()], dim=-1), (0, 0, 0, missing))
    return {f"{name}.int4": packed, f"{name}.scales": both.to(torch.bfloat16).contiguous()}


def open_linear(name: str, tensors: Tensors) -> Int4Linear | Int8Linear:
    """Return the layer that `pack_matrix` stored under a name."""
    scales = tensors[f"{name}.scales"]
    if f"{name}.int4" in tensors:
        return Int4Linear(tensors[f"{name}.int4"], scales)
    return Int8Linear(tensors[f"{name}.int8"], scales)


def _pack_codes(codes: torch.Tensor) -> torch.Tensor:
    """Pack codes for the 4-bit kernel; int32, a multiple of its block of rows."""
    return torch._convert_weight_to_int4pack_for_cpu(codes, 1)  # noqa: SLF001


@cache
def product_type() -> torch.dtype:
    """Return the type in which this processor multiplies many rows by a matrix.

    Without instructions for bfloat16, torch takes thirty times as long in it as in float32.
    """
    known = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    fast = known and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001
    return torch.bfloat16 if fast else torch.float32


@cache
def row_order() -> tuple[int, ...]:
    """Return how this processor's 4-bit kernel wants the rows of a block.

    A byte holds the codes of two rows. The result names the rows of the low halves of a column's
    bytes, then those of the high halves; its length is the kernel's block.
    """
    rows = torch.arange(ROWS, dtype=torch.int32)
    probe = torch.zeros(ROWS, GROUP, dtype=torch.int32)
    probe[:, 0], probe[:, 1] = rows & _LOW, rows >> _HALF
    packed = _pack_codes(probe).view(-1)
    for block in (ROWS, ROWS // 2, ROWS // 4):
        columns = packed.view(-1, GROUP, block // 2)[0]
        codes = torch.cat([columns & _LOW, columns >> _HALF], dim=1).int()
        order = tuple((codes[0] + (codes[1] << _HALF)).tolist())
        if sorted(order) == list(range(block)):
            return order
    message = "the 4-bit kernel of this processor packs its weights in an unknown order"
    raise NotImplementedError(message)


def _rows_as_packed(start: int, end: int) -> slice | torch.Tensor:
    """Return the rows of some blocks in the order that they are packed in."""
    order = row_order()
    if order == tuple(range(len(order))):
        return slice(start, end)
    return (torch.arange(start, end, len(order))[:, None] + torch.tensor(order)).view(-1)
