"""Attention among all tokens of a text, in both directions, as code for the processor this runs on.

What a token gathers does not depend, bit by bit, on how many threads share the heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llvmlite import ir

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
    exp,
    fill,
    fma,
    load,
    maximum,
    move,
    reduce_lanes,
    store,
)

_TILE = 2
"""Tokens that share what is read of the others."""
_VECTOR_BYTES = LANES * FLOAT_BYTES


def scratch_floats(heads: int, tokens: int) -> int:
    """Return how many numbers of scratch memory a text of so many tokens needs."""
    return heads * _TILE * -(-tokens // LANES) * LANES


def define_attention(module: ir.Module, heads: int, size: int) -> ir.Function:
    """Define `attend`, for so many heads of one size, a multiple of 8.

    Its arguments: queries, keys and values, float32 (tokens, 3, heads, size); outputs, float32 (tokens, heads,
    size); scratch memory of `scratch_floats`; then the numbers of tokens and heads, and the board.
    """

    def attend(builder: ir.IRBuilder, arguments: Sequence[ir.Value], first: ir.Value, last: ir.Value) -> None:
        with counting(builder, first, last) as head:
            writer = _Head(builder, arguments, head, heads, size)
            with counting(builder, 0, arguments[3], _TILE) as token:
                writer.attend(token)

    kinds = [POINTER] * 3 + [I64] * 2
    return define_shared(module, "attend", kinds, count=len(kinds) - 1, emit=attend)


class _Head:
    """Writes the code for one head."""

    def __init__(
        self, builder: ir.IRBuilder, arguments: Sequence[ir.Value], head: ir.Value, heads: int, size: int
    ) -> None:
        mixed, outputs, self._scratch, self._tokens, _ = arguments
        self._builder = builder
        self._size = size
        self._width = heads * size * FLOAT_BYTES
        self._vectors = builder.udiv(builder.add(self._tokens, constant(I64, LANES - 1)), constant(I64, LANES))
        self._queries, self._outputs = (at(builder, start, head, size * FLOAT_BYTES) for start in (mixed, outputs))
        self._keys, self._values = (move(builder, self._queries, part * self._width) for part in (1, 2))
        self._first_row = builder.mul(head, constant(I64, _TILE))
        self._rows = [self._row(constant(I64, index)) for index in range(_TILE)]

    def attend(self, token: ir.Value) -> None:
        """Write what a tile of tokens gathers; where the text ends before it, the last one fills it up."""
        builder = self._builder
        final = builder.sub(self._tokens, constant(I64, 1))
        places = [builder.add(token, constant(I64, index)) for index in range(_TILE)]
        tile = [builder.select(builder.icmp_signed("<", one, final), one, final) for one in places]
        self._score([at(builder, self._queries, one, 3 * self._width) for one in tile])
        with counting(builder, 0, _TILE) as index:
            self._weigh(self._row(index))
        self._mix([at(builder, self._outputs, one, self._width) for one in tile])

    def _row(self, index: ir.Value) -> ir.Value:
        """Return where the scores of a token of the tile are, then its weights."""
        row = self._builder.add(self._first_row, index)
        return at(self._builder, self._scratch, self._builder.mul(row, self._vectors), _VECTOR_BYTES)

    def _score(self, queries: list[ir.Value]) -> None:
        """Write the products of queries and all keys; what follows them in the last vector will weigh nothing."""
        builder = self._builder
        final = builder.sub(self._vectors, constant(I64, 1))
        for row in self._rows:
            store(builder, constant(FLOATS, -math.inf), at(builder, row, final, _VECTOR_BYTES))
        asked = [self._load(query) for query in queries]
        with counting(builder, 0, self._tokens) as token:
            key = self._load(at(builder, self._keys, token, 3 * self._width))
            for row, query in zip(self._rows, asked, strict=True):
                total: ir.Value = constant(FLOATS, 0.0)
                for one, other in zip(query, key, strict=True):
                    total = fma(builder, one, other, total)
                scale = constant(FLOAT, 1 / math.sqrt(self._size))
                score = builder.fmul(reduce_lanes(builder, total, builder.fadd), scale)
                store(builder, score, at(builder, row, token, FLOAT_BYTES))

    def _weigh(self, row: ir.Value) -> None:
        """Turn scores into weights, whose sum is 1."""
        builder = self._builder
        top = Variable(builder, constant(FLOATS, -math.inf))
        with counting(builder, 0, self._vectors) as vector:
            scores = load(builder, at(builder, row, vector, _VECTOR_BYTES), FLOATS)
            top.set(maximum(builder, top.get(), scores))
        greatest = fill(builder, reduce_lanes(builder, top.get(), lambda one, other: maximum(builder, one, other)))
        total = Variable(builder, constant(FLOATS, 0.0))
        with counting(builder, 0, self._vectors) as vector:
            place = at(builder, row, vector, _VECTOR_BYTES)
            weights = exp(builder, builder.fsub(load(builder, place, FLOATS), greatest))
            store(builder, weights, place)
            total.set(builder.fadd(total.get(), weights))
        factor = fill(builder, builder.fdiv(constant(FLOAT, 1.0), reduce_lanes(builder, total.get(), builder.fadd)))
        with counting(builder, 0, self._vectors) as vector:
            place = at(builder, row, vector, _VECTOR_BYTES)
            store(builder, builder.fmul(load(builder, place, FLOATS), factor), place)

    def _mix(self, outputs: list[ir.Value]) -> None:
        """Write the sums of all values by their weights."""
        builder = self._builder
        sums = [[Variable(builder, constant(FLOATS, 0.0)) for _ in range(self._size // LANES)] for _ in self._rows]
        with counting(builder, 0, self._tokens) as token:
            value = self._load(at(builder, self._values, token, 3 * self._width))
            for row, row_sums in zip(self._rows, sums, strict=True):
                weight = fill(builder, load(builder, at(builder, row, token, FLOAT_BYTES), FLOAT))
                for part, one in zip(value, row_sums, strict=True):
                    one.set(fma(builder, weight, part, one.get()))
        for output, row_sums in zip(outputs, sums, strict=True):
            for part, one in enumerate(row_sums):
                store(builder, one.get(), move(builder, output, part * _VECTOR_BYTES))

    def _load(self, place: ir.Value) -> list[ir.Value]:
        builder = self._builder
        parts = range(self._size // LANES)
        return [load(builder, move(builder, place, part * _VECTOR_BYTES), FLOATS) for part in parts]
