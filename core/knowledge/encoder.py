"""The encoder of a BERT model (Devlin et al. 2019, arXiv 1810.04805), compiled as one function.

A query takes one call of it, shared by a team of threads: a library for all models takes a hundred
small steps, between which other threads of Python have their turn. What comes out for a text does not depend, bit by bit, on
the number of threads and on the texts beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numpy.typing import NDArray
from torch import nn
from transformers import BertModel

from core.knowledge.attention import define_attention, scratch_floats
from core.knowledge.dense import ROWS, define_product, pack
from core.knowledge.team import Team, define_help, define_shared
from core.knowledge.wording import middle_layer
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
    call_unary,
    constant,
    counting,
    define,
    erf,
    fill,
    fma,
    load,
    move,
    processor,
    reduce_lanes,
    store,
)

Floats = NDArray[np.float32]
_NEEDS = {"x86_64": frozenset({"avx", "fma"}), "aarch64": frozenset[str]()}
_VECTOR_BYTES = LANES * FLOAT_BYTES
MOST_THREADS = 4
"""Threads that share a call at most: there is little to do in each step of a query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of an encoder."""

    layers: int
    heads: int
    width: int
    """Numbers of a token."""
    inner: int
    """Numbers of a token between the two products that only look at itself."""
    epsilon: float
    """What is added to a variance."""

    @classmethod
    def of(cls, bert: BertModel) -> Shape:
        """Return the sizes of a model."""
        config = bert.config
        return cls(
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            width=config.hidden_size,
            inner=config.intermediate_size,
            epsilon=config.layer_norm_eps,
        )

    @property
    def whole(self) -> bool:
        """Whether everything divides into what is computed side by side."""
        return self.width % ROWS == 0 and self.inner % ROWS == 0 and self.width % (self.heads * LANES) == 0


class States(NamedTuple):
    """Hidden states of tokens: shape (tokens, width) each."""

    middle: Floats
    """After the layer that `middle_layer` tells."""
    last: Floats


class Encoder:
    """Computes what the tokens of texts mean beside each other."""

    def __init__(self, bert: BertModel, library: Library) -> None:
        self._shape = Shape.of(bert)
        self._weights = _weights_of(bert)
        self._encode = library.function("encode", 7, 2)
        self._team = Team(MOST_THREADS, library.function("help", 1, 0))

    @classmethod
    def of(cls, bert: BertModel) -> Encoder | None:
        """Return the encoder of a model in float32 with GELU, or None if it would not be fast on this processor."""
        shape = Shape.of(bert)
        library = _compile(shape) if shape.whole else None
        return None if library is None else cls(bert, library)

    def encode(self, words: Floats, places: Floats, lengths: Sequence[int], threads: int) -> States:
        """Return the hidden states; one call at a time.

        Args:
            words: What embeds the tokens of all texts, one after the other: shape (tokens, width).
            places: What embeds where in its text each is: the same shape.
            lengths: Tokens of each text.
            threads: How many may share the work, `MOST_THREADS` at most.
        """
        shape, tokens = self._shape, len(words)
        hidden = np.array(words, np.float32, order="C")
        middle = np.empty_like(hidden)
        added = np.ascontiguousarray(places, np.float32)
        longest = scratch_floats(shape.heads, max(lengths, default=0))
        scratch = np.empty(tokens * (_broadest(shape) + shape.width) + longest, np.float32)
        counts = np.array(lengths, np.int64)
        addresses = (array.ctypes.data for array in (hidden, middle, added, self._weights, scratch, counts))
        with self._team.board(_steps(shape, len(lengths)), threads) as board:
            self._encode(*addresses, board, tokens, len(lengths))
        return States(middle, hidden)


def _steps(shape: Shape, texts: int) -> int:
    """Steps that threads share: in each layer four products, what follows one of them, and attention in each text."""
    return shape.layers * (5 + texts)


def _broadest(shape: Shape) -> int:
    """Numbers of a token that one product gives."""
    return max(3 * shape.width, shape.inner)


def _weights_of(bert: BertModel) -> Floats:
    """Return all weights in the order in which they are read."""
    parts = [*_norm_of(bert.embeddings.LayerNorm)]
    layers: Any = bert.encoder.layer
    for layer in layers:
        own, output = layer.attention.self, layer.attention.output
        parts += [_join([own.query, own.key, own.value]), _join([output.dense]), *_norm_of(output.LayerNorm)]
        parts += [_join([layer.intermediate.dense]), _join([layer.output.dense]), *_norm_of(layer.output.LayerNorm)]
    return np.concatenate([part.reshape(-1) for part in parts])


def _join(layers: Sequence[nn.Linear]) -> Floats:
    """Pack layers that read the same as one, whose outputs stand side by side."""
    weight, bias = (torch.cat([getattr(one, name).detach() for one in layers]).numpy() for name in ("weight", "bias"))
    return pack(weight, bias)


def _norm_of(norm: Any) -> tuple[Floats, Floats]:
    return norm.weight.detach().numpy(), norm.bias.detach().numpy()


# --- the code -------------------------------------------------------------------------------


@cache
def _compile(shape: Shape) -> Library | None:
    """Return the compiled encoder, or None for processors that it would not be fast on."""
    family, has = processor()
    if family not in _NEEDS or not _NEEDS[family] <= has:
        return None
    module = ir.Module("encoder")
    _define_encode(module, shape)
    define_help(module)
    try:
        return Library(module)
    except RuntimeError:  # this version of LLVM does not take it
        return None


def _define_encode(module: ir.Module, shape: Shape) -> None:
    """Define `encode`, after which the words have become hidden states.

    Its arguments: words, where to put the states of the middle layer, and places, float32 (tokens, width); all weights;
    scratch memory; the lengths of the texts, int64; the board of the team; then the numbers of tokens and texts.
    """
    product, gelu = define_product(module), _define_gelu(module, shape)
    attend = define_attention(module, shape.heads, shape.width // shape.heads)
    norm = _define_norm(module, shape)
    builder, arguments = define(module, "encode", [POINTER] * 7 + [I64] * 2)
    hidden, middle, places, weights, scratch, lengths, board, tokens, texts = arguments
    broad = scratch
    narrow = at(builder, broad, tokens, _broadest(shape) * FLOAT_BYTES)
    scores = at(builder, narrow, tokens, shape.width * FLOAT_BYTES)
    place = Variable(builder, weights)

    def take(numbers: int) -> ir.Value:
        """Return the address of the next weights, which are so many."""
        start = place.get()
        place.set(move(builder, start, numbers * FLOAT_BYTES))
        return start

    def multiply(inputs: ir.Value, columns: int, outputs: ir.Value, rows: int) -> None:
        sizes = [constant(I64, columns), constant(I64, rows // ROWS)]
        builder.call(product, [inputs, take(rows * (1 + columns)), outputs, tokens, *sizes, board])

    def add_and_norm(added: ir.Value) -> None:
        builder.call(norm, [hidden, added, take(2 * shape.width), tokens])

    def attend_within_texts() -> None:
        first = Variable(builder, constant(I64, 0))
        with counting(builder, 0, texts) as text:
            length = load(builder, at(builder, lengths, text, I64.width // 8), I64)
            mixed = at(builder, broad, first.get(), 3 * shape.width * FLOAT_BYTES)
            gathered = at(builder, narrow, first.get(), shape.width * FLOAT_BYTES)
            builder.call(attend, [mixed, gathered, scores, length, constant(I64, shape.heads), board])
            first.set(builder.add(first.get(), length))

    add_and_norm(places)
    with counting(builder, 0, shape.layers) as layer:
        multiply(hidden, shape.width, broad, 3 * shape.width)
        attend_within_texts()
        multiply(narrow, shape.width, broad, shape.width)
        add_and_norm(broad)
        multiply(hidden, shape.width, broad, shape.inner)
        builder.call(gelu, [broad, tokens, board])
        multiply(broad, shape.inner, narrow, shape.width)
        add_and_norm(narrow)
        with builder.if_then(builder.icmp_signed("==", layer, constant(I64, middle_layer(shape.layers) - 1))):
            _copy(builder, hidden, middle, builder.mul(tokens, constant(I64, shape.width // LANES)))
    builder.ret_void()


def _copy(builder: ir.IRBuilder, source: ir.Value, target: ir.Value, vectors: ir.Value) -> None:
    with counting(builder, 0, vectors) as vector:
        value = load(builder, at(builder, source, vector, _VECTOR_BYTES), FLOATS)
        store(builder, value, at(builder, target, vector, _VECTOR_BYTES))


def _define_gelu(module: ir.Module, shape: Shape) -> ir.Function:
    """Define `gelu`: each number times the share of a normal distribution below it (arXiv 1606.08415), in place.

    Its arguments: numbers, float32 (tokens, inner); the number of tokens; and the board.
    """

    def bend(builder: ir.IRBuilder, arguments: Sequence[ir.Value], first: ir.Value, last: ir.Value) -> None:
        vectors = constant(I64, shape.inner // LANES)
        with counting(builder, builder.mul(first, vectors), builder.mul(last, vectors)) as vector:
            place = at(builder, arguments[0], vector, _VECTOR_BYTES)
            value = load(builder, place, FLOATS)
            below = erf(builder, builder.fmul(value, constant(FLOATS, math.sqrt(0.5))))
            half = builder.fmul(value, constant(FLOATS, 0.5))
            store(builder, fma(builder, half, below, half), place)

    return define_shared(module, "gelu", [POINTER, I64], count=1, emit=bend)


def _define_norm(module: ir.Module, shape: Shape) -> ir.Function:
    """Define `norm`, which adds to the hidden states and normalises each (layer norm, arXiv 1607.06450).

    Its arguments: hidden states and what is added, float32 (tokens, width); scales and shifts, float32 (2, width);
    and the number of tokens.
    """
    row_bytes = shape.width * FLOAT_BYTES
    vectors = shape.width // LANES
    builder, (hidden, added, scales, tokens) = define(module, "norm", [POINTER] * 3 + [I64])
    shifts = move(builder, scales, row_bytes)

    def part(start: ir.Value, vector: ir.Value) -> ir.Value:
        return load(builder, at(builder, start, vector, _VECTOR_BYTES), FLOATS)

    def mean(total: Variable) -> ir.Value:
        summed = reduce_lanes(builder, total.get(), builder.fadd)
        return builder.fmul(summed, constant(FLOAT, 1 / shape.width))

    with counting(builder, 0, tokens) as token:
        row, other = (at(builder, one, token, row_bytes) for one in (hidden, added))
        total = Variable(builder, constant(FLOATS, 0.0))
        with counting(builder, 0, vectors) as vector:
            value = builder.fadd(part(row, vector), part(other, vector))
            store(builder, value, at(builder, row, vector, _VECTOR_BYTES))
            total.set(builder.fadd(total.get(), value))
        middle = fill(builder, mean(total))
        squares = Variable(builder, constant(FLOATS, 0.0))
        with counting(builder, 0, vectors) as vector:
            distance = builder.fsub(part(row, vector), middle)
            squares.set(fma(builder, distance, distance, squares.get()))
        deviation = call_unary(builder, "sqrt", builder.fadd(mean(squares), constant(FLOAT, shape.epsilon)))
        factor = fill(builder, builder.fdiv(constant(FLOAT, 1.0), deviation))
        with counting(builder, 0, vectors) as vector:
            unit = builder.fmul(builder.fsub(part(row, vector), middle), factor)
            value = fma(builder, unit, part(scales, vector), part(shifts, vector))
            store(builder, value, at(builder, row, vector, _VECTOR_BYTES))
    builder.ret_void()
    return builder.function
