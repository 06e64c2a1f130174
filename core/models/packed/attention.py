"""Attention of tokens to what came before them.

Each token is computed by itself, its keys in ascending order: what a token sees does not depend, bit
by bit, on which others are read along with it. Several tokens share what is read of the cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llvmlite import ir

from core.llvm import (
    FLOAT,
    FLOAT_BYTES,
    FLOATS,
    I32,
    I64,
    LANES,
    POINTER,
    Variable,
    at,
    constant,
    counting,
    declare,
    define_parallel,
    exp,
    fill,
    fma,
    load,
    move,
    reduce_lanes,
    store,
)

TILE = 4
"""Tokens that are computed together."""
_VECTOR_BYTES = LANES * FLOAT_BYTES
_COLUMNS = 2
"""Vectors of a value that are summed up together: with one sum for each token, as many as there are registers for."""


def scratch_floats(heads: int, positions: int) -> int:
    """Numbers of scratch memory for the scores of a tile of tokens."""
    return heads * TILE * _whole_vectors(positions)


def _whole_vectors(positions: int) -> int:
    return -(-positions // LANES) * LANES


def define_attention(module: ir.Module, size: int) -> None:
    """Define `attend`, for heads of one size.

    Its arguments: queries, float32 (tokens, heads + 2 * kv heads, size), of which only the heads' are read; a cache,
    float32 (2, kv heads, capacity, size); outputs, float32 (tokens, heads, size); scratch memory of
    `scratch_floats` for all positions up to the last; then the number of tokens, the first one's position, the
    window (positions that a token sees, itself included), the capacity, kv heads, heads and threads.
    """

    def attend(builder: ir.IRBuilder, arguments: Sequence[ir.Value], first: ir.Value, last: ir.Value) -> None:
        tokens = arguments[4]
        whole = builder.and_(tokens, constant(I64, -TILE))
        with counting(builder, first, last) as head:
            with counting(builder, 0, whole, TILE) as token:
                _Tile(builder, size, arguments, head).attend(token, TILE)
            with counting(builder, whole, tokens) as token:
                _Tile(builder, size, arguments, head).attend(token, 1)

    kinds = [POINTER] * 4 + [I64] * 6
    define_parallel(module, "attend", kinds, count=len(kinds) - 1, emit=attend)


class _Tile:
    """Writes the code for a few tokens and one head."""

    def __init__(self, builder: ir.IRBuilder, size: int, arguments: Sequence[ir.Value], head: ir.Value) -> None:
        queries, cache, outputs, scratch, tokens, start, window, capacity, shared, heads = arguments
        self._builder = builder
        self._vectors = range(size // LANES)
        self._size = size
        self._start, self._window, self._heads, self._head = start, window, heads, head
        self._queries, self._outputs = queries, outputs
        self._width = builder.add(heads, builder.mul(shared, constant(I64, 2)))
        kv_head = builder.udiv(builder.mul(head, shared), heads)
        bytes_ = size * FLOAT_BYTES
        self._keys = at(builder, cache, builder.mul(kv_head, capacity), bytes_)
        self._values = at(builder, cache, builder.mul(builder.add(shared, kv_head), capacity), bytes_)
        last = builder.add(builder.add(start, tokens), constant(I64, LANES - 1))
        self._row = builder.and_(last, constant(I64, -LANES))
        self._scores = at(builder, scratch, builder.mul(builder.mul(head, self._row), constant(I64, TILE)), FLOAT_BYTES)

    def attend(self, token: ir.Value, count: int) -> None:
        """Compute some tokens."""
        builder = self._builder
        tokens = [builder.add(token, constant(I64, index)) for index in range(count)]
        ends = [builder.add(builder.add(self._start, one), constant(I64, 1)) for one in tokens]
        firsts = [self._oldest(end) for end in ends]
        rows = [at(builder, self._scores, builder.mul(constant(I64, i), self._row), FLOAT_BYTES) for i in range(count)]
        # Vectors of scores are cut at multiples of their length, counted from the start of the text.
        start, end = builder.and_(firsts[0], constant(I64, -LANES)), ends[-1]
        self._score(tokens, rows, start, end)
        factors = [
            self._weigh(row, start, end, one, its_end) for row, one, its_end in zip(rows, firsts, ends, strict=True)
        ]
        self._mix(tokens, rows, factors, firsts[0], end)

    def _oldest(self, end: ir.Value) -> ir.Value:
        builder = self._builder
        oldest = builder.sub(end, self._window)
        return builder.select(builder.icmp_signed(">", oldest, constant(I64, 0)), oldest, constant(I64, 0))

    def _score(self, tokens: list[ir.Value], rows: list[ir.Value], start: ir.Value, end: ir.Value) -> None:
        """Write the products of queries and keys."""
        builder = self._builder
        bytes_ = self._size * FLOAT_BYTES
        scale = constant(FLOAT, 1 / math.sqrt(self._size))
        queries = [
            at(builder, self._queries, builder.add(builder.mul(token, self._width), self._head), bytes_)
            for token in tokens
        ]
        with counting(builder, start, end) as position:
            key = at(builder, self._keys, position, bytes_)
            sums: list[ir.Value] = [constant(FLOATS, 0.0)] * len(tokens)
            for vector in self._vectors:
                part = load(builder, move(builder, key, vector * _VECTOR_BYTES), FLOATS)
                for index, query in enumerate(queries):
                    asked = load(builder, move(builder, query, vector * _VECTOR_BYTES), FLOATS)
                    sums[index] = fma(builder, asked, part, sums[index])
            for one, row in zip(sums, rows, strict=True):
                score = builder.fmul(reduce_lanes(builder, one, builder.fadd), scale)
                store(builder, score, at(builder, row, position, FLOAT_BYTES))

    def _weigh(self, row: ir.Value, start: ir.Value, end: ir.Value, first: ir.Value, its_end: ir.Value) -> ir.Value:
        """Turn a token's scores into weights, 0 for what it does not see; return one over their sum."""
        builder = self._builder
        greater = declare(builder.module, f"llvm.maxnum.v{LANES}f32", FLOATS, [FLOATS] * 2)
        greatest = declare(builder.module, "llvm.maxnum.f32", FLOAT, [FLOAT] * 2)
        top = Variable(builder, constant(FLOATS, -math.inf))
        with counting(builder, start, end, LANES) as position:
            place = at(builder, row, position, FLOAT_BYTES)
            scores = self._hide(load(builder, place, FLOATS), position, first, its_end)
            store(builder, scores, place)
            top.set(builder.call(greater, [top.get(), scores]))
        maximum = self._reduce(top.get(), greatest)
        total = Variable(builder, constant(FLOATS, 0.0))
        with counting(builder, start, end, LANES) as position:
            place = at(builder, row, position, FLOAT_BYTES)
            weights = exp(builder, builder.fsub(load(builder, place, FLOATS), fill(builder, maximum)))
            store(builder, weights, place)
            total.set(builder.fadd(total.get(), weights))
        return builder.fdiv(constant(FLOAT, 1.0), reduce_lanes(builder, total.get(), builder.fadd))

    def _reduce(self, value: ir.Value, function: ir.Function) -> ir.Value:
        builder = self._builder
        numbers = [builder.extract_element(value, constant(I32, lane)) for lane in range(LANES)]
        found = numbers[0]
        for number in numbers[1:]:
            found = builder.call(function, [found, number])
        return found

    def _hide(self, scores: ir.Value, position: ir.Value, first: ir.Value, end: ir.Value) -> ir.Value:
        builder = self._builder
        lanes = ir.Constant(ir.VectorType(I64, LANES), list(range(LANES)))
        positions = builder.add(fill(builder, position), lanes)
        early = builder.icmp_signed("<", positions, fill(builder, first))
        late = builder.icmp_signed(">=", positions, fill(builder, end))
        return builder.select(builder.or_(early, late), constant(FLOATS, -math.inf), scores)

    def _mix(
        self, tokens: list[ir.Value], rows: list[ir.Value], factors: list[ir.Value], start: ir.Value, end: ir.Value
    ) -> None:
        """Write the weighted sums of values."""
        builder = self._builder
        bytes_ = self._size * FLOAT_BYTES
        width = _COLUMNS if self._size % (_COLUMNS * LANES) == 0 else 1
        vectors = range(width)
        with counting(builder, 0, len(self._vectors), width) as column:
            values = at(builder, self._values, column, _VECTOR_BYTES)
            outputs = at(builder, self._outputs, column, _VECTOR_BYTES)
            sums = [[Variable(builder, constant(FLOATS, 0.0)) for _ in vectors] for _ in tokens]
            with counting(builder, start, end) as position:
                value = at(builder, values, position, bytes_)
                parts = [load(builder, move(builder, value, vector * _VECTOR_BYTES), FLOATS) for vector in vectors]
                for row, token in zip(rows, sums, strict=True):
                    weight = fill(builder, load(builder, at(builder, row, position, FLOAT_BYTES), FLOAT))
                    for part, one in zip(parts, token, strict=True):
                        one.set(fma(builder, weight, part, one.get()))
            for token, factor, found in zip(tokens, factors, sums, strict=True):
                place = builder.add(builder.mul(token, self._heads), self._head)
                output = at(builder, outputs, place, bytes_)
                for vector, one in zip(vectors, found, strict=True):
                    result = builder.fmul(one.get(), fill(builder, factor))
                    store(builder, result, move(builder, output, vector * _VECTOR_BYTES))
