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

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import llvmlite.binding as llvm
from llvmlite import ir

from core.models.packed.instructions import QUAD, Dot, MakeDot, constant, declare

ROWS = 16
"""Rows of a record."""
GROUP = 32
"""Columns of a record: neighbours in a row that share a scale and a low."""
_TILE = 4
"""Tokens for which weights are unpacked once."""
_LARGEST = 127.0
_NIBBLE, _NIBBLE_BITS = 15, 4
_HALF_BYTES, _FLOAT_BYTES, _SCALE_BYTES = 2, 4, 8
_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_HALF, _FLOAT, _POINTER, _NOTHING = ir.HalfType(), ir.FloatType(), ir.PointerType(), ir.VoidType()
_NUMBERS = ["inputs", "scratch", "weights", "outputs", "tokens", "groups", "blocks"]
Product = Callable[[int, int, int, int, int, int, int, int], None]
"""Multiplies; takes addresses and sizes.

1. Inputs, float32 (tokens, columns).
2. Scratch memory of `scratch_bytes`.
3. Records, uint8 (rows / 16, columns / 32, bytes of a record).
4. Outputs, float32 (tokens, rows).
5. Tokens.
6. Columns / 32.
7. Rows / 16.
8. Threads.
"""


class Kernel:
    """Compiled products; nothing it returns may be used after it is gone."""

    def __init__(self, make_dot: MakeDot) -> None:
        """Compile.

        Raises:
            RuntimeError: LLVM does not know these instructions.
        """
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module = ir.Module("packed")
        parallel = _add_openmp()
        _emit_rounding(module)
        for bits in (4, 8):
            _emit_product(module, make_dot(module, bits), bits, parallel=parallel)
        compiled = llvm.parse_assembly(str(module))
        compiled.verify()
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
        )
        passes = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=3))
        passes.getModulePassManager().run(compiled, passes)
        self._engine = llvm.create_mcjit_compiler(compiled, target)
        self._engine.finalize_object()

    def product(self, bits: int) -> Product:
        """Return what multiplies by weights of 4 or 8 bits; it lets other Python threads run."""
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 4)
        return kind(self._engine.get_function_address(f"product{bits}"))


def record_bytes(bits: int) -> int:
    """Size of a record."""
    return _code_bytes(bits) + 2 * ROWS * _HALF_BYTES


def scratch_bytes(tokens: int, columns: int) -> int:
    """Memory for rounded activations."""
    return tokens * (columns + columns // GROUP * _SCALE_BYTES)


def _code_bytes(bits: int) -> int:
    return ROWS * GROUP * bits // 8


def _add_openmp() -> bool:
    """Make torch's OpenMP known, whose threads are shared; without it, one thread does all."""
    program = None if os.name == "nt" else ctypes.CDLL(None)
    for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads"):
        function = getattr(program, name, None)
        if function is None:
            return False
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
    return True


def _emit_rounding(module: ir.Module) -> None:
    """Define `round(inputs, codes, scales, groups)`.

    A group's scale is stored with its product with the sum of the group's codes, which is what a
    row's low is multiplied by.
    """
    floats, whole = ir.VectorType(_FLOAT, GROUP), ir.VectorType(_I32, GROUP)
    magnitude = declare(module, "llvm.fabs.v32f32", floats, [floats])
    nearest = declare(module, "llvm.roundeven.v32f32", floats, [floats])
    largest = declare(module, "llvm.vector.reduce.fmax.v32f32", _FLOAT, [floats])
    total = declare(module, "llvm.vector.reduce.add.v32i32", _I32, [whole])
    function = ir.Function(module, ir.FunctionType(_NOTHING, [_POINTER] * 3 + [_I64]), "round")
    inputs, codes, scales, groups = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    with _counting(builder, constant(_I64, 0), groups) as group:
        values = _load(builder, _at(builder, inputs, group, GROUP * _FLOAT_BYTES), floats)
        top = builder.call(largest, [builder.call(magnitude, [values])])
        steps = builder.select(
            builder.fcmp_ordered(">", top, constant(_FLOAT, 0.0)),
            builder.fdiv(constant(_FLOAT, _LARGEST), top),
            constant(_FLOAT, 0.0),
        )
        scaled = builder.fmul(values, _fill(builder, steps, GROUP))
        rounded = builder.fptosi(builder.call(nearest, [scaled]), whole)
        _store(builder, builder.trunc(rounded, ir.VectorType(_I8, GROUP)), _at(builder, codes, group, GROUP))
        scale = builder.fdiv(top, constant(_FLOAT, _LARGEST))
        of_sum = builder.fmul(scale, builder.sitofp(builder.call(total, [rounded]), _FLOAT))
        place = _at(builder, scales, group, _SCALE_BYTES)
        _store(builder, scale, place)
        _store(builder, of_sum, _move(builder, place, _FLOAT_BYTES))
    builder.ret_void()


def _emit_product(module: ir.Module, dot: Dot, bits: int, *, parallel: bool) -> None:
    """Define `productN`; see `Product`."""
    part = _emit_part(module, dot, bits)
    kind = ir.FunctionType(_NOTHING, [_POINTER] * 4 + [_I64] * 4)
    function = ir.Function(module, kind, f"product{bits}")
    inputs, scratch, _, _, tokens, groups, blocks, threads = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    all_groups = builder.mul(tokens, groups)
    builder.call(module.get_global("round"), [inputs, scratch, _at(builder, scratch, all_groups, GROUP), all_groups])
    alone = builder.icmp_signed("<=", threads, constant(_I64, 1))
    arguments = builder.alloca(_I64, len(_NUMBERS))
    for index, value in enumerate(function.args[: len(_NUMBERS)]):
        whole = builder.ptrtoint(value, _I64) if value.type == _POINTER else value
        builder.store(whole, builder.gep(arguments, [constant(_I64, index)]))
    if parallel:
        share = _emit_share(module, part, bits)
        run = declare(module, "GOMP_parallel", _NOTHING, [_POINTER, _POINTER, _I32, _I32])
        with builder.if_else(alone) as (then, otherwise):
            with then:
                builder.call(part, [arguments, constant(_I64, 0), blocks])
            with otherwise:
                builder.call(run, [share, arguments, builder.trunc(threads, _I32), constant(_I32, 0)])
    else:
        builder.call(part, [arguments, constant(_I64, 0), blocks])
    builder.ret_void()


def _emit_share(module: ir.Module, part: ir.Function, bits: int) -> ir.Function:
    """Define what each thread runs: its share of the blocks."""
    function = ir.Function(module, ir.FunctionType(_NOTHING, [_POINTER]), f"share{bits}")
    builder = ir.IRBuilder(function.append_basic_block())
    (arguments,) = function.args
    number, count = (
        builder.zext(builder.call(declare(module, name, _I32, []), []), _I64)
        for name in ("omp_get_thread_num", "omp_get_num_threads")
    )
    blocks = _load(builder, _move(builder, arguments, _NUMBERS.index("blocks") * _SCALE_BYTES), _I64)
    first = builder.udiv(builder.mul(blocks, number), count)
    last = builder.udiv(builder.mul(blocks, builder.add(number, constant(_I64, 1))), count)
    builder.call(part, [arguments, first, last])
    builder.ret_void()
    return function


def _emit_part(module: ir.Module, dot: Dot, bits: int) -> ir.Function:
    """Define `partN(arguments, first, last)`: some blocks of rows, for all tokens."""
    function = ir.Function(module, ir.FunctionType(_NOTHING, [_POINTER, _I64, _I64]), f"part{bits}")
    arguments, first, last = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    kinds = [_POINTER] * 4 + [_I64] * 3
    _, codes, weights, outputs, tokens, groups, blocks = (
        _load(builder, _move(builder, arguments, index * _SCALE_BYTES), kind) for index, kind in enumerate(kinds)
    )
    scales = _at(builder, codes, builder.mul(tokens, groups), GROUP)
    tile = _Tile(module, builder, dot, bits)
    whole = builder.and_(tokens, constant(_I64, -_TILE))
    with _counting(builder, first, last) as block:
        records = _at(builder, weights, builder.mul(block, groups), record_bytes(bits))

        def multiply(token: ir.Value, count: int, parts: list[int]) -> None:
            firsts = [builder.add(token, constant(_I64, index)) for index in range(count)]
            starts = [builder.mul(one, groups) for one in firsts]
            sums = tile.multiply(
                records,
                groups,
                parts,
                [_at(builder, codes, start, GROUP) for start in starts],
                [_at(builder, scales, start, _SCALE_BYTES) for start in starts],
            )
            for one, found in zip(firsts, sums, strict=True):
                place = builder.add(builder.mul(one, blocks), block)
                row = _at(builder, outputs, place, ROWS * _FLOAT_BYTES)
                for part, values in zip(parts, found, strict=True):
                    _store(builder, values, _move(builder, row, part * dot.lanes * _FLOAT_BYTES))

        parts = list(range(ROWS // dot.lanes))
        with _counting(builder, constant(_I64, 0), whole, _TILE) as token:
            for part in parts:  # One after the other: the sums of all would not fit into registers.
                multiply(token, _TILE, [part])
        with _counting(builder, whole, tokens) as token:
            multiply(token, 1, parts)
    builder.ret_void()
    return function


class _Tile:
    """Writes the code that multiplies the records of one block of rows with a few tokens."""

    def __init__(self, module: ir.Module, builder: ir.IRBuilder, dot: Dot, bits: int) -> None:
        self._builder = builder
        self._dot = dot
        self._bits = bits
        self._floats = ir.VectorType(_FLOAT, dot.lanes)
        self._fma = declare(module, f"llvm.fma.v{dot.lanes}f32", self._floats, [self._floats] * 3)

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
        places = [[self._variable() for _ in parts] for _ in codes]
        for place in (one for token in places for one in token):
            builder.store(constant(self._floats, 0.0), place)
        with _counting(builder, constant(_I64, 0), groups) as group:
            record = _at(builder, records, group, record_bytes(self._bits))
            inputs = [_at(builder, one, group, GROUP) for one in codes]
            factors = [self._factors(_at(builder, one, group, _SCALE_BYTES)) for one in scales]
            for index, part in enumerate(parts):
                scale, low = self._scale_and_low(record, part)
                dots = self._dots(record, part, inputs)
                for whole, (factor, of_sum), token in zip(dots, factors, places, strict=True):
                    values = builder.sitofp(whole, self._floats)
                    sums = builder.load(token[index], typ=self._floats)
                    sums = builder.call(self._fma, [values, builder.fmul(scale, factor), sums])
                    builder.store(builder.call(self._fma, [low, of_sum, sums]), token[index])
        return [[builder.load(place, typ=self._floats) for place in token] for token in places]

    def _variable(self) -> ir.Value:
        with self._builder.goto_entry_block():
            return self._builder.alloca(self._floats)

    def _factors(self, place: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Return a group's scale, and that times the sum of its codes."""
        builder, lanes = self._builder, self._dot.lanes
        scale = _load(builder, place, _FLOAT)
        of_sum = _load(builder, _move(builder, place, _FLOAT_BYTES), _FLOAT)
        return _fill(builder, scale, lanes), _fill(builder, of_sum, lanes)

    def _scale_and_low(self, record: ir.Value, part: int) -> tuple[ir.Value, ...]:
        builder, lanes = self._builder, self._dot.lanes
        halves = ir.VectorType(_HALF, lanes)
        starts = [_code_bytes(self._bits) + (ROWS * kind + part * lanes) * _HALF_BYTES for kind in range(2)]
        return tuple(
            builder.fpext(_load(builder, _move(builder, record, start), halves), self._floats) for start in starts
        )

    def _dots(self, record: ir.Value, part: int, inputs: list[ir.Value]) -> list[ir.Value]:
        """Return the sums of products of a group, for each token."""
        builder, dot = self._builder, self._dot
        sums = [constant(dot.sums, 0)] * len(inputs)
        packed = ir.VectorType(_I8, QUAD * dot.lanes)
        runs = GROUP // QUAD * self._bits // 8
        for run in range(runs):
            raw = _load(builder, _move(builder, record, (run * ROWS + part * dot.lanes) * QUAD), packed)
            codes = {run: raw}
            if self._bits == _NIBBLE_BITS:
                codes = {
                    run: builder.and_(raw, constant(packed, _NIBBLE)),
                    run + runs: builder.lshr(raw, constant(packed, _NIBBLE_BITS)),
                }
            for quad, weights in codes.items():
                for index, place in enumerate(inputs):
                    four = _load(builder, _move(builder, place, quad * QUAD), _I32)
                    sums[index] = dot.add(
                        builder, sums[index], weights, builder.bitcast(_fill(builder, four, dot.lanes), packed)
                    )
        return [dot.finish(builder, one) for one in sums]


@contextmanager
def _counting(builder: ir.IRBuilder, start: ir.Value, end: ir.Value, step: int = 1) -> Iterator[ir.Value]:
    """Repeat what is built inside; yields the counter."""
    before = builder.block
    head, body, after = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    counter = builder.phi(_I64)
    counter.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", counter, end), body, after)
    builder.position_at_end(body)
    yield counter
    counter.add_incoming(builder.add(counter, constant(_I64, step)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)


def _at(builder: ir.IRBuilder, start: ir.Value, index: ir.Value, size: int) -> ir.Value:
    """Return the address of an item."""
    return builder.gep(start, [builder.mul(index, constant(_I64, size))], source_etype=_I8)


def _move(builder: ir.IRBuilder, start: ir.Value, count: int) -> ir.Value:
    """Return the address some bytes further on."""
    return builder.gep(start, [constant(_I64, count)], source_etype=_I8)


def _load(builder: ir.IRBuilder, place: ir.Value, kind: ir.Type) -> ir.Value:
    """Read from any address."""
    value = builder.load(place, typ=kind)
    value.align = 1
    return value


def _store(builder: ir.IRBuilder, value: ir.Value, place: ir.Value) -> None:
    """Write to any address."""
    builder.store(value, place).align = 1


def _fill(builder: ir.IRBuilder, value: ir.Value, count: int) -> ir.Value:
    """Return a vector full of a number."""
    kind = ir.VectorType(value.type, count)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, constant(_I32, 0))
    return builder.shuffle_vector(first, first, constant(ir.VectorType(_I32, count), 0))
