"""Linear layers in float32 for few tokens, compiled for the processor this runs on.

A query has a dozen tokens, for which a pass through a sentence model is little more than reading
all weights once. They lie in the order in which they are read, and while one part is multiplied,
the next is on its way. The result for a token does not depend on the others, bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from llvmlite import ir
from torch import Tensor, nn
from torch.nn import functional

from core.llvm import (
    FLOAT,
    FLOAT_BYTES,
    FLOATS,
    I64,
    LANES,
    POINTER,
    Library,
    Variable,
    at,
    constant,
    counting,
    define,
    define_parallel,
    erf,
    fill,
    fma,
    load,
    move,
    prefetch,
    processor,
    store,
    threads_for,
)

_ROWS = 16
"""Rows of the matrix that are multiplied side by side: a block."""
_TILE = 6
"""Tokens that are multiplied at once: their sums, two vectors of rows and a number fill 16 registers."""
_PARTS = _ROWS // LANES
_LINE = _ROWS * FLOAT_BYTES
_NEEDS = {"x86_64": frozenset({"avx", "fma"}), "aarch64": frozenset[str]()}

Dense = Callable[[Tensor], Tensor]
"""Maps float32 (tokens, inputs) to float32 (tokens, outputs)."""


def join(layers: Sequence[nn.Linear]) -> Dense:
    """Return layers that read the same as one, whose outputs stand side by side."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    bias = torch.cat([layer.bias.detach() for layer in layers])
    library = _compile()
    if library is None or len(bias) % _ROWS:
        return lambda inputs: functional.linear(inputs, weight, bias)
    return _Compiled(weight, bias, library.function("product", 3, 4))


def find_gelu() -> Dense:
    """Return the Gaussian error linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415), for float32 rows of 8 n."""
    library = _compile()
    if library is None:
        return functional.gelu
    function = library.function("gelu", 1, 1)

    def gelu(values: Tensor) -> Tensor:
        outputs = values.clone(memory_format=torch.contiguous_format)
        function(outputs.data_ptr(), outputs.numel() // LANES)
        return outputs

    return gelu


class _Compiled:
    def __init__(self, weight: Tensor, bias: Tensor, product: Callable[..., None]) -> None:
        rows, self._columns = weight.shape
        self._blocks = rows // _ROWS
        lines = weight.view(self._blocks, _ROWS, self._columns).transpose(1, 2)
        self._matrix = torch.cat([bias.view(self._blocks, 1, _ROWS), lines], dim=1).contiguous()
        self._product = product

    def __call__(self, inputs: Tensor) -> Tensor:
        inputs = inputs.contiguous()
        outputs = torch.empty(inputs.shape[0], self._blocks * _ROWS)
        self._product(
            inputs.data_ptr(),
            self._matrix.data_ptr(),
            outputs.data_ptr(),
            inputs.shape[0],
            self._columns,
            self._blocks,
            threads_for(outputs.numel() * self._columns, torch.get_num_threads()),
        )
        return outputs


@cache
def _compile() -> Library | None:
    """Return the compiled functions, or None for processors that they would not be fast on."""
    family, has = processor()
    if family not in _NEEDS or not _NEEDS[family] <= has:
        return None
    module = ir.Module("dense")
    kinds = [POINTER] * 3 + [I64] * 3
    define_parallel(module, "product", kinds, count=len(kinds) - 1, emit=_multiply_blocks)
    _define_gelu(module)
    try:
        return Library(module)
    except RuntimeError:  # this version of LLVM does not take it
        return None


def _define_gelu(module: ir.Module) -> None:
    """Define `gelu`: each number times the share of a normal distribution that is below it, where it stands.

    Its arguments: numbers, float32; and how many vectors of 8 they are.
    """
    builder, (values, vectors) = define(module, "gelu", [POINTER, I64])
    with counting(builder, 0, vectors) as index:
        place = at(builder, values, index, LANES * FLOAT_BYTES)
        value = load(builder, place, FLOATS)
        below = erf(builder, builder.fmul(value, constant(FLOATS, math.sqrt(0.5))))
        half = builder.fmul(value, constant(FLOATS, 0.5))
        store(builder, fma(builder, half, below, half), place)
    builder.ret_void()


def _multiply_blocks(builder: ir.IRBuilder, arguments: Sequence[ir.Value], first: ir.Value, last: ir.Value) -> None:
    """Multiply some blocks of rows with all tokens.

    The arguments: inputs, float32 (tokens, columns); a matrix, float32 (blocks, 1 + columns, 16), the biases
    of a block before its columns; outputs, float32 (tokens, blocks, 16); then the numbers of tokens, columns
    and blocks.
    """
    inputs, matrix, outputs, tokens, columns, blocks = arguments
    lines = builder.add(columns, constant(I64, 1))
    # Tiles of like size, since one of a single token takes nearly as long as a full one.
    tiles = builder.udiv(builder.add(tokens, constant(I64, _TILE - 1)), constant(I64, _TILE))
    # Every tile has its share of the next block brought near, so that the memory is never idle.
    step = builder.udiv(builder.add(tiles, constant(I64, _LINE - 1)), tiles)

    def multiply(start: ir.Value, block: ir.Value, tile: ir.Value, token: ir.Value, count: int) -> None:
        rows = [builder.add(token, constant(I64, index)) for index in range(count)]
        sources = [at(builder, inputs, builder.mul(row, columns), FLOAT_BYTES) for row in rows]
        sums = [[Variable(builder, one) for one in _load_line(builder, start)] for _ in rows]
        share = builder.mul(builder.mul(tile, columns), step)
        coming = Variable(builder, at(builder, at(builder, start, lines, _LINE), share, 1))
        with counting(builder, 0, columns) as column:
            prefetch(builder, coming.get())
            coming.set(at(builder, coming.get(), step, 1))
            weights = _load_line(builder, at(builder, move(builder, start, _LINE), column, _LINE))
            for source, row_sums in zip(sources, sums, strict=True):
                value = fill(builder, load(builder, at(builder, source, column, FLOAT_BYTES), FLOAT))
                for weight, one in zip(weights, row_sums, strict=True):
                    one.set(fma(builder, value, weight, one.get()))
        for row, row_sums in zip(rows, sums, strict=True):
            target = at(builder, outputs, builder.add(builder.mul(row, blocks), block), _LINE)
            for part, one in enumerate(row_sums):
                store(builder, one.get(), move(builder, target, part * LANES * FLOAT_BYTES))

    with counting(builder, first, last) as block:
        start = at(builder, matrix, builder.mul(block, lines), _LINE)
        with counting(builder, 0, tiles) as tile:
            following = builder.add(tile, constant(I64, 1))
            token, end = (builder.udiv(builder.mul(tokens, one), tiles) for one in (tile, following))
            for count in range(1, _TILE + 1):
                with builder.if_then(builder.icmp_unsigned("==", builder.sub(end, token), constant(I64, count))):
                    multiply(start, block, tile, token, count)


def _load_line(builder: ir.IRBuilder, place: ir.Value) -> list[ir.Value]:
    return [load(builder, move(builder, place, part * LANES * FLOAT_BYTES), FLOATS) for part in range(_PARTS)]
