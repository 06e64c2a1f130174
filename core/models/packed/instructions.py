"""How a processor multiplies small integers and adds them up, as LLVM's instructions.

Sums of products are whole numbers, so all of these give the same, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from llvmlite import ir

from core.llvm import I8, I32, constant, declare, processor
from core.models.quantize import NIBBLE_BITS

QUAD = 4
"""Neighbours in a row whose products are added up at once."""
_PAIR = 2
_I16 = ir.IntType(16)


class Dot(Protocol):
    """Adds up the products of weights and inputs, for several rows of a matrix side by side."""

    lanes: int
    """Rows side by side."""
    sums: ir.VectorType
    """What is added to."""

    def add(self, builder: ir.IRBuilder, sums: ir.Value, codes: ir.Value, inputs: ir.Value) -> ir.Value:
        """Add the products of four codes (0 to 127) and four inputs (-127 to 127) of each row; both 8-bit vectors."""
        ...

    def finish(self, builder: ir.IRBuilder, sums: ir.Value) -> ir.Value:
        """Return one 32-bit sum for each row, once a group of 32 has been added."""
        ...


MakeDot = Callable[[ir.Module, int], Dot]
"""Takes the module to declare instructions in, and the bits of a weight."""


class Avx2Dot:
    """Pairs of products in 16 bits; 32 products of 4-bit codes still fit into two of those sums."""

    lanes = 8

    def __init__(self, module: ir.Module, bits: int) -> None:
        self._narrow = bits == NIBBLE_BITS
        pairs, quads = _vector(_I16, _PAIR * self.lanes), _vector(I32, self.lanes)
        self._pairs = declare(module, "llvm.x86.avx2.pmadd.ub.sw", pairs, [_vector(I8, QUAD * self.lanes)] * 2)
        self._quads = declare(module, "llvm.x86.avx2.pmadd.wd", quads, [pairs] * 2)
        self._ones = constant(pairs, 1)
        self.sums = pairs if self._narrow else quads

    def add(self, builder: ir.IRBuilder, sums: ir.Value, codes: ir.Value, inputs: ir.Value) -> ir.Value:
        """See `Dot.add`."""
        products = builder.call(self._pairs, [codes, inputs])
        return builder.add(sums, products if self._narrow else builder.call(self._quads, [products, self._ones]))

    def finish(self, builder: ir.IRBuilder, sums: ir.Value) -> ir.Value:
        """See `Dot.finish`."""
        return builder.call(self._quads, [sums, self._ones]) if self._narrow else sums


class OneInstructionDot:
    """Four products and their sum are one instruction."""

    def __init__(self, module: ir.Module, _: int, *, name: str, lanes: int) -> None:
        self.lanes = lanes
        self.sums = _vector(I32, lanes)
        four = _vector(I8, QUAD * lanes)
        self._dot = declare(module, name, self.sums, [self.sums, four, four])

    def add(self, builder: ir.IRBuilder, sums: ir.Value, codes: ir.Value, inputs: ir.Value) -> ir.Value:
        """See `Dot.add`."""
        return builder.call(self._dot, [sums, codes, inputs])

    def finish(self, _: ir.IRBuilder, sums: ir.Value) -> ir.Value:
        """See `Dot.finish`."""
        return sums


class PlainDot:
    """What every processor of a family can do."""

    lanes = 4

    def __init__(self, _: ir.Module, __: int) -> None:
        self.sums = _vector(I32, self.lanes)

    def add(self, builder: ir.IRBuilder, sums: ir.Value, codes: ir.Value, inputs: ir.Value) -> ir.Value:
        """See `Dot.add`."""
        wide = _vector(_I16, QUAD * self.lanes)
        products = builder.mul(builder.zext(codes, wide), builder.sext(inputs, wide))
        for place in range(QUAD):
            chosen = ir.Constant(self.sums, [QUAD * lane + place for lane in range(self.lanes)])
            sums = builder.add(sums, builder.sext(builder.shuffle_vector(products, products, chosen), self.sums))
        return sums

    def finish(self, _: ir.IRBuilder, sums: ir.Value) -> ir.Value:
        """See `Dot.finish`."""
        return sums


_AVX512 = partial(OneInstructionDot, name="llvm.x86.avx512.vpdpbusd.512", lanes=16)
_NEON = partial(OneInstructionDot, name="llvm.aarch64.neon.sdot.v4i32.v16i8", lanes=4)
_NEEDS: Sequence[tuple[MakeDot, str, frozenset[str]]] = (
    (_AVX512, "x86_64", frozenset({"avx512f", "avx512bw", "avx512vnni", "f16c"})),
    (Avx2Dot, "x86_64", frozenset({"avx2", "fma", "f16c"})),
    # Without these, LLVM would call functions that a process need not have.
    (PlainDot, "x86_64", frozenset({"sse4.1", "fma", "f16c"})),
    (_NEON, "aarch64", frozenset({"dotprod"})),
    (PlainDot, "aarch64", frozenset()),
)


def usable_dots() -> list[MakeDot]:
    """Return what this processor can run, the fastest first; nothing for families that nobody has tried."""
    family, has = processor()
    return [dot for dot, wanted, needs in _NEEDS if wanted == family and needs <= has]


def _vector(kind: ir.Type, count: int) -> ir.VectorType:
    return ir.VectorType(kind, count)
