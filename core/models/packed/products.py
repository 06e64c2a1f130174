"""Products of packed matrices with activations, compiled for the processor this runs on.

Reading weights is what takes the time, so a kernel must keep up with the memory: it multiplies
whole numbers. Activations are rounded to 8 bits in groups of 32, each with a scale, which costs a
fraction of what rounding the weights to 4 bits does (the same is done by llama.cpp's Q8 blocks).
Each token and each row of the matrix is computed by itself in a fixed order: the result is the
same, bit by bit, whatever else is computed along with it, and on however many threads.

A matrix is stored as records, one for 16 rows and a group of 32 columns, in the order in which they
are read: codes, then 16 scales, then 16 lows (half precision); a weight is `code * scale + low`.
Codes are in runs of 16 rows times 4 columns; with 4 bits, a byte's high half belongs to the column
that is 16 further on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from llvmlite import ir

from core.llvm import (
    FLOAT,
    FLOAT_BYTES,
    HALF,
    I8,
    I32,
    I64,
    POINTER,
    Variable,
    at,
    call_unary,
    constant,
    counting,
    declare,
    define_parallel,
    fill,
    fma,
    load,
    move,
    store,
)
from core.models.packed.instructions import QUAD, Dot
from core.models.quantize import GROUP, LEVELS, NIBBLE_BITS

ROWS = 16
"""Rows of a record."""
_TILE = 4
"""Tokens for which weights are unpacked once."""
_LARGEST = 127.0
_HALF_BYTES, _SCALE_BYTES = 2, 8


def record_bytes(bits: int) -> int:
    """Size of a record."""
    return _code_bytes(bits) + 2 * ROWS * _HALF_BYTES


def scratch_bytes(tokens: int, columns: int) -> int:
    """Memory for rounded activations."""
    return tokens * (columns + columns // GROUP * _SCALE_BYTES)


def _code_bytes(bits: int) -> int:
    return ROWS * GROUP * bits // 8


def define_product(module: ir.Module, dot: Dot, bits: int) -> None:
    """Define `product4` or `product8`.

    Its arguments: inputs, float32 (tokens, columns); scratch memory of `scratch_bytes`; records, uint8
    (rows / 16, columns / 32, bytes of a record); outputs, float32 (tokens, rows); then the numbers of
    tokens, groups (columns / 32), blocks (rows / 16) and threads.
    """

    def round_all(builder: ir.IRBuilder, arguments: Sequence[ir.Value]) -> None:
        inputs, scratch, _, _, tokens, groups, *_ = arguments
        _round(builder, inputs, scratch, builder.mul(tokens, groups))

    kinds = [POINTER] * 4 + [I64] * 3
    multiply = partial(_multiply_blocks, dot=dot, bits=bits)
    define_parallel(module, f"product{bits}", kinds, count=len(kinds) - 1, emit=multiply, before=round_all)


def _round(builder: ir.IRBuilder, inputs: ir.Value, codes: ir.Value, groups: ir.Value) -> None:
    """Write codes, and after all of them the scales.

    A group's scale is stored with its product with the sum of the group's codes, which is what a
    row's low is multiplied by.
    """
    floats, whole = ir.VectorType(FLOAT, GROUP), ir.VectorType(I32, GROUP)
    largest = declare(builder.module, "llvm.vector.reduce.fmax.v32f32", FLOAT, [floats])
    total = declare(builder.module, "llvm.vector.reduce.add.v32i32", I32, [whole])
    scales = at(builder, codes, groups, GROUP)
    with counting(builder, 0, groups) as group:
        values = load(builder, at(builder, inputs, group, GROUP * FLOAT_BYTES), floats)
        top = builder.call(largest, [call_unary(builder, "fabs", values)])
        steps = builder.select(
            builder.fcmp_ordered(">", top, constant(FLOAT, 0.0)),
            builder.fdiv(constant(FLOAT, _LARGEST), top),
            constant(FLOAT, 0.0),
        )
        scaled = builder.fmul(values, fill(builder, steps, GROUP))
        rounded = builder.fptosi(call_unary(builder, "rint", scaled), whole)
        store(builder, builder.trunc(rounded, ir.VectorType(I8, GROUP)), at(builder, codes, group, GROUP))
        scale = builder.fdiv(top, constant(FLOAT, _LARGEST))
        of_sum = builder.fmul(scale, builder.sitofp(builder.call(total, [rounded]), FLOAT))
        place = at(builder, scales, group, _SCALE_BYTES)
        store(builder, scale, place)
        store(builder, of_sum, move(builder, place, FLOAT_BYTES))


def _multiply_blocks(
    builder: ir.IRBuilder, arguments: Sequence[ir.Value], first: ir.Value, last: ir.Value, *, dot: Dot, bits: int
) -> None:
    """Multiply some blocks of rows with all tokens."""
    _, codes, weights, outputs, tokens, groups, blocks = arguments
    scales = at(builder, codes, builder.mul(tokens, groups), GROUP)
    tile = _Tile(builder, dot, bits)
    whole = builder.and_(tokens, constant(I64, -_TILE))
    parts = list(range(ROWS // dot.lanes))
    with counting(builder, first, last) as block:
        records = at(builder, weights, builder.mul(block, groups), record_bytes(bits))

        def multiply(token: ir.Value, count: int, parts: list[int]) -> None:
            firsts = [builder.add(token, constant(I64, index)) for index in range(count)]
            starts = [builder.mul(one, groups) for one in firsts]
            sums = tile.multiply(
                records,
                groups,
                parts,
                [at(builder, codes, start, GROUP) for start in starts],
                [at(builder, scales, start, _SCALE_BYTES) for start in starts],
            )
            for one, found in zip(firsts, sums, strict=True):
                place = builder.add(builder.mul(one, blocks), block)
                row = at(builder, outputs, place, ROWS * FLOAT_BYTES)
                for part, values in zip(parts, found, strict=True):
                    store(builder, values, move(builder, row, part * dot.lanes * FLOAT_BYTES))

        with counting(builder, 0, whole, _TILE) as token:
            for part in parts:  # One after the other: the sums of all would not fit into registers.
                multiply(token, _TILE, [part])
        with counting(builder, whole, tokens) as token:
            multiply(token, 1, parts)


class _Tile:
    """Writes the code that multiplies the records of one block of rows with a few tokens."""

    def __init__(self, builder: ir.IRBuilder, dot: Dot, bits: int) -> None:
        self._builder = builder
        self._dot = dot
        self._bits = bits
        self._floats = ir.VectorType(FLOAT, dot.lanes)

    def multiply(
        self,
        records: ir.Value,
        groups: ir.Value,
        parts: list[int],
        codes: list[ir.Value],
        scales: list[ir.Value],
    ) -> list[list[ir.Value]]:
        """Return the sums for each token and each of some parts of the block's rows."""
        builder = self._builder
        zero = constant(self._floats, 0.0)
        sums = [[Variable(builder, zero) for _ in parts] for _ in codes]
        with counting(builder, 0, groups) as group:
            record = at(builder, records, group, record_bytes(self._bits))
            inputs = [at(builder, one, group, GROUP) for one in codes]
            factors = [self._factors(at(builder, one, group, _SCALE_BYTES)) for one in scales]
            for index, part in enumerate(parts):
                scale, low = self._scale_and_low(record, part)
                dots = self._dots(record, part, inputs)
                for whole, (factor, of_sum), token in zip(dots, factors, sums, strict=True):
                    values = builder.sitofp(whole, self._floats)
                    added = fma(builder, values, builder.fmul(scale, factor), token[index].get())
                    token[index].set(fma(builder, low, of_sum, added))
        return [[one.get() for one in token] for token in sums]

    def _factors(self, place: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Return a group's scale, and that times the sum of its codes."""
        builder, lanes = self._builder, self._dot.lanes
        scale = load(builder, place, FLOAT)
        of_sum = load(builder, move(builder, place, FLOAT_BYTES), FLOAT)
        return fill(builder, scale, lanes), fill(builder, of_sum, lanes)

    def _scale_and_low(self, record: ir.Value, part: int) -> tuple[ir.Value, ...]:
        builder, lanes = self._builder, self._dot.lanes
        halves = ir.VectorType(HALF, lanes)
        starts = [_code_bytes(self._bits) + (ROWS * kind + part * lanes) * _HALF_BYTES for kind in range(2)]
        return tuple(
            builder.fpext(load(builder, move(builder, record, start), halves), self._floats) for start in starts
        )

    def _dots(self, record: ir.Value, part: int, inputs: list[ir.Value]) -> list[ir.Value]:
        """Return the sums of products of a group, for each token."""
        builder, dot = self._builder, self._dot
        sums = [constant(dot.sums, 0)] * len(inputs)
        packed = ir.VectorType(I8, QUAD * dot.lanes)
        runs = GROUP // QUAD * self._bits // 8
        for run in range(runs):
            raw = load(builder, move(builder, record, (run * ROWS + part * dot.lanes) * QUAD), packed)
            codes = {run: raw}
            if self._bits == NIBBLE_BITS:
                codes = {
                    run: builder.and_(raw, constant(packed, LEVELS[NIBBLE_BITS])),
                    run + runs: builder.lshr(raw, constant(packed, NIBBLE_BITS)),
                }
            for quad, weights in codes.items():
                for index, place in enumerate(inputs):
                    four = load(builder, move(builder, place, quad * QUAD), I32)
                    sums[index] = dot.add(
                        builder, sums[index], weights, builder.bitcast(fill(builder, four, dot.lanes), packed)
                    )
        return [dot.finish(builder, one) for one in sums]
