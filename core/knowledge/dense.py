"""Linear layers in float32 for few tokens, as code for the processor this runs on.

A query has a dozen tokens, for which a pass through a sentence model is little more than reading
all weights once. They lie in the order in which they are read, and while one part is multiplied,
the next is on its way. The result for a token does not depend on the others, bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from core.knowledge.team import define_shared
from core.llvm import (
    FLOAT,
    FLOAT_BYTES,
    FLOATS,
    I64,
    LANES,
    POINTER,
    Variable,
    at,
    constant,
    counting,
    fill,
    fma,
    load,
    move,
    prefetch,
    store,
)

ROWS = 16
"""Rows of the matrix that are multiplied side by side: a block."""
_TILE = 6
"""Tokens that are multiplied at once: their sums, two vectors of rows and a number fill 16 registers."""
_PARTS = ROWS // LANES
_LINE = ROWS * FLOAT_BYTES


def pack(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the numbers of a linear layer in the order in which they are read.

    Args:
        weight: Shape (rows, columns), rows a multiple of `ROWS`.
        bias: Shape (rows,).

    Returns:
        Shape (rows // ROWS, 1 + columns, ROWS): the biases of a block before its columns.
    """
    lines = weight.reshape(-1, ROWS, weight.shape[1]).transpose(0, 2, 1)
    return np.concatenate([bias.reshape(-1, 1, ROWS), lines], axis=1)


def define_product(module: ir.Module) -> ir.Function:
    """Define `product`, which multiplies all tokens with a matrix.

    Its arguments: inputs, float32 (tokens, columns); a matrix that was packed; outputs, float32 (tokens, rows);
    then the numbers of tokens, columns and blocks, and the board.
    """
    kinds = [POINTER] * 3 + [I64] * 3
    return define_shared(module, "product", kinds, count=len(kinds) - 1, emit=_multiply_blocks)


def _multiply_blocks(builder: ir.IRBuilder, arguments: Sequence[ir.Value], first: ir.Value, last: ir.Value) -> None:
    """Multiply some blocks of rows with all tokens."""
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
