"""Layers with packed weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import llvmlite
import torch
from torch.nn import functional

from core.llvm import threads_for
from core.models.packed.instructions import QUAD, MakeDot, usable_dots
from core.models.packed.kernel import Kernel
from core.models.packed.products import ROWS, scratch_bytes
from core.models.quantize import GROUP, LEVELS, NIBBLE_BITS, Matrix

_LIKELY = 64
"""Tokens whose logits are computed exactly; the likeliest of all was never beyond the tenth in four bits."""
_FOLDS = 16
"""Parts of the vocabulary that are laid on top of each other to find the likely tokens."""
_QUADS = GROUP // QUAD

Tensors = Mapping[str, torch.Tensor]


class Linear:
    """Multiplies by a packed matrix, filled up to a multiple of `ROWS` rows.

    The result for a token does not depend on the others, bit by bit.
    """

    def __init__(self, records: torch.Tensor, bits: int, kernel: Kernel) -> None:
        """Take what `pack_matrix` made."""
        self._records = records
        self._blocks, self._groups, _ = records.shape
        self._address = records.data_ptr()
        self._product = kernel.product[bits]

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map float32 (tokens, columns) to float32 (tokens, rows)."""
        inputs = inputs.contiguous()
        tokens, columns = inputs.shape
        outputs = torch.empty(tokens, self._blocks * ROWS)
        scratch = torch.empty(scratch_bytes(tokens, columns), dtype=torch.uint8)
        threads = threads_for(outputs.numel() * columns, torch.get_num_threads())
        self._product(
            inputs.data_ptr(),
            scratch.data_ptr(),
            self._address,
            outputs.data_ptr(),
            tokens,
            self._groups,
            self._blocks,
            threads,
        )
        return outputs


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
        """Map float32 (tokens, columns) to logits, float32 (tokens, vocabulary)."""
        vocabulary = self._exact.shape[0]
        logits = self._coarse(hidden)
        logits[:, vocabulary:] = -math.inf
        likely = _find_largest(logits, min(_LIKELY, vocabulary))
        # One by one: the last digits of a batched product depend on the size of the batch.
        exact = [self._exact[rows].float() @ one for rows, one in zip(likely, hidden, strict=True)]
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


def pack_matrix(name: str, matrix: Matrix) -> dict[str, torch.Tensor]:
    """Return the tensor that `open_linear` makes a layer from, filled up with rows of zeros."""
    missing = -matrix.codes.shape[0] % ROWS
    codes, scales, lows = (
        functional.pad(part, (0, 0, 0, missing)) for part in (matrix.codes, matrix.scales, matrix.lows)
    )
    blocks, groups = len(codes) // ROWS, codes.shape[1] // GROUP
    runs = codes.view(torch.int32).view(blocks, ROWS, groups, _QUADS).permute(0, 2, 3, 1).contiguous()
    runs = runs.view(torch.uint8)
    if matrix.bits == NIBBLE_BITS:
        half = _QUADS // 2
        runs = runs[:, :, :half] | (runs[:, :, half:] << NIBBLE_BITS)
    halves = [
        part.to(torch.float16).view(blocks, ROWS, groups).transpose(1, 2).contiguous().view(torch.uint8)
        for part in (scales, lows)
    ]
    records = torch.cat([runs.reshape(blocks, groups, -1), *halves], dim=-1)
    return {f"{name}.int{matrix.bits}": records}


def open_linear(name: str, tensors: Tensors, kernel: Kernel) -> Linear:
    """Return the layer that `pack_matrix` stored under a name."""
    bits = next(bits for bits in LEVELS if f"{name}.int{bits}" in tensors)
    return Linear(tensors[f"{name}.int{bits}"], bits, kernel)


@cache
def find_kernel() -> Kernel:
    """Compile the fastest kernel that computes right on this processor.

    Raises:
        RuntimeError: None does.
    """
    for make_dot in usable_dots():
        kernel = _compile(make_dot)
        if kernel is not None and all(_computes_right(kernel, bits) for bits in LEVELS):
            return kernel
    message = f"no kernel of llvmlite {llvmlite.__version__} multiplies packed weights right"
    raise RuntimeError(message)


def _compile(make_dot: MakeDot) -> Kernel | None:
    try:
        return Kernel(make_dot)
    except RuntimeError:  # this version of LLVM names its instructions differently
        return None


def _computes_right(kernel: Kernel, bits: int) -> bool:
    """Compare with a product whose numbers are all whole, so that it must be the same.

    The largest codes and inputs are among them, whose sums come closest to overflowing.
    """
    generator = torch.Generator().manual_seed(0)
    tokens, rows, columns, largest = 5, 3 * ROWS, 2 * GROUP, 127
    codes = torch.randint(0, LEVELS[bits] + 1, (rows, columns), generator=generator, dtype=torch.uint8)
    inputs = torch.randint(-largest, largest + 1, (tokens, columns), generator=generator).float()
    codes[0], inputs[0], inputs[1] = LEVELS[bits], largest, -largest
    inputs[:, ::GROUP] = largest
    lows = torch.randint(-8, 1, (rows, columns // GROUP), generator=generator).float()
    matrix = Matrix(bits, codes, torch.ones_like(lows), lows)
    found = Linear(pack_matrix("it", matrix)[f"it.int{bits}"], bits, kernel)(inputs)
    return torch.equal(found, inputs @ matrix.dequantize().t())
