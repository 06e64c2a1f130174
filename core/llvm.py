"""Small pieces of LLVM's code that the kernels are put together from, and their compilation."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import llvmlite.binding as llvm
from llvmlite import ir

LANES = 8
"""Floating point numbers that are computed side by side."""
I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
HALF, FLOAT, POINTER, NOTHING = ir.HalfType(), ir.FloatType(), ir.PointerType(), ir.VoidType()
FLOATS = ir.VectorType(FLOAT, LANES)
FLOAT_BYTES = 4
_WORD_BYTES = 8
_THREAD_SHARE = 1 << 18
"""Products from which it pays to wake one more thread."""
_TO_READ_SOON = 0, 3, 1
"""To be read, into the nearest cache, as data."""
_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.44269504088896341, 0.693359375, -2.12194440e-4
_LEAST_EXPONENT, _GREATEST_EXPONENT = -87.3, 88.3
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
"""Coefficients of `expf` in the Cephes library (Moshier)."""
_MANTISSA_BITS, _BIAS = 23, 127
_ERF_SCALE, _ERF = 0.3275911, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592, 0.0)
"""Coefficients of formula 7.1.26 in Abramowitz and Stegun, Handbook of Mathematical Functions (1964)."""
_SAME_FAMILY = {"amd64": "x86_64", "arm64": "aarch64"}
Emit = Callable[[ir.IRBuilder, Sequence[ir.Value], ir.Value, ir.Value], None]
"""Writes what is done for a part of the work: arguments, first item, last item (exclusive)."""


def processor() -> tuple[str, frozenset[str]]:
    """Return the family of this processor, `x86_64`, `aarch64` or another, and what it can do, in LLVM's words."""
    machine = platform.machine().lower()
    features = frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)
    return _SAME_FAMILY.get(machine, machine), features


class Library:
    """A compiled module."""

    def __init__(self, module: ir.Module) -> None:
        """Compile for this processor.

        Raises:
            RuntimeError: LLVM does not know an instruction.
        """
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        compiled = llvm.parse_assembly(str(module))
        compiled.verify()
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
        )
        passes = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=2))
        passes.getModulePassManager().run(compiled, passes)
        self._engine = llvm.create_mcjit_compiler(compiled, target)
        self._engine.finalize_object()

    def function(self, name: str, pointers: int, numbers: int) -> Callable[..., None]:
        """Return a function that takes addresses, then whole numbers, and lets other Python threads run."""
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * pointers, *[ctypes.c_int64] * numbers)
        function: Any = kind(self._engine.get_function_address(name))
        function.code = self._engine  # which would otherwise be freed with this library
        return cast("Callable[..., None]", function)


def threads_for(products: int, available: int) -> int:
    """Return how many threads it pays to wake for so many multiplications."""
    return min(available, 1 + products // _THREAD_SHARE)


def define(module: ir.Module, name: str, kinds: Sequence[ir.Type]) -> tuple[ir.IRBuilder, Sequence[ir.Value]]:
    """Begin a function without a result; returns its builder and arguments."""
    function = ir.Function(module, ir.FunctionType(NOTHING, kinds), name)
    function.attributes.add("noinline")  # all are long, and copies of them would take as long again to compile
    return ir.IRBuilder(function.append_basic_block()), function.args


def define_parallel(
    module: ir.Module,
    name: str,
    kinds: Sequence[ir.Type],
    *,
    count: int,
    emit: Emit,
    before: Callable[[ir.IRBuilder, Sequence[ir.Value]], None] | None = None,
) -> ir.Function:
    """Define and return a function whose work is shared by threads; its last argument is how many.

    They are those of the OpenMP that torch runs on, if it is found; without it, one does all.

    Args:
        module: Where to define it.
        name: Of the function.
        kinds: Of its arguments but the last: pointers and 64-bit numbers.
        count: Which argument is the number of items that are shared.
        emit: Writes what is done for some of the items.
        before: Writes what is done by one thread first.
    """
    part = define_part(module, f"{name}_part", kinds, emit)
    builder, arguments = define(module, name, [*kinds, I64])
    if before is not None:
        before(builder, arguments)
    words = builder.alloca(I64, len(kinds))
    for index, (kind, value) in enumerate(zip(kinds, arguments, strict=False)):
        word = builder.ptrtoint(value, I64) if kind == POINTER else value
        builder.store(word, builder.gep(words, [constant(I64, index)]))
    everything = [words, constant(I64, 0), arguments[count]]
    if _find_openmp():
        share = _define_share(module, f"{name}_share", part, count)
        run = declare(module, "GOMP_parallel", NOTHING, [POINTER, POINTER, I32, I32])
        with builder.if_else(builder.icmp_signed("<=", arguments[-1], constant(I64, 1))) as (alone, together):
            with alone:
                builder.call(part, everything)
            with together:
                builder.call(run, [share, words, builder.trunc(arguments[-1], I32), constant(I32, 0)])
    else:
        builder.call(part, everything)
    builder.ret_void()
    return builder.function


def define_part(module: ir.Module, name: str, kinds: Sequence[ir.Type], emit: Emit) -> ir.Function:
    """Define and return what does a part of some work: the address of all arguments, first item, last (exclusive)."""
    builder, (words, first, last) = define(module, name, [POINTER, I64, I64])
    emit(
        builder,
        [load(builder, move(builder, words, _WORD_BYTES * at), kind) for at, kind in enumerate(kinds)],
        first,
        last,
    )
    builder.ret_void()
    return builder.function


def _define_share(module: ir.Module, name: str, part: ir.Function, count: int) -> ir.Function:
    """Define what each thread runs."""
    builder, (words,) = define(module, name, [POINTER])
    number, threads = (
        builder.zext(builder.call(declare(module, question, I32, []), []), I64)
        for question in ("omp_get_thread_num", "omp_get_num_threads")
    )
    items = load(builder, move(builder, words, _WORD_BYTES * count), I64)
    first = builder.udiv(builder.mul(items, number), threads)
    last = builder.udiv(builder.mul(items, builder.add(number, constant(I64, 1))), threads)
    builder.call(part, [words, first, last])
    builder.ret_void()
    return builder.function


def _find_openmp() -> bool:
    """Make torch's OpenMP known to what is compiled; False if there is none that has these functions."""
    program: Any = None if os.name == "nt" else ctypes.CDLL(None)
    for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads"):
        function = getattr(program, name, None)
        if function is None:
            return False
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
    return True


@contextmanager
def counting(builder: ir.IRBuilder, start: ir.Value | int, end: ir.Value | int, step: int = 1) -> Iterator[ir.Value]:
    """Repeat what is built inside; yields the counter."""
    start, end = (constant(I64, one) if isinstance(one, int) else one for one in (start, end))
    before = builder.block
    head, body, after = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    counter = builder.phi(I64)
    counter.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", counter, end), body, after)
    builder.position_at_end(body)
    yield counter
    counter.add_incoming(builder.add(counter, constant(I64, step)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)


class Variable:
    """A number or vector that changes in a loop."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self._builder = builder
        self._kind = value.type
        with builder.goto_entry_block():
            self._place = builder.alloca(value.type)
        self.set(value)

    def get(self) -> ir.Value:
        """Return its value."""
        return self._builder.load(self._place, typ=self._kind)

    def set(self, value: ir.Value) -> None:
        """Give it another value."""
        self._builder.store(value, self._place)


def at(builder: ir.IRBuilder, start: ir.Value, index: ir.Value, size: int) -> ir.Value:
    """Return the address of an item of so many bytes."""
    return builder.gep(start, [builder.mul(index, constant(I64, size))], source_etype=I8)


def move(builder: ir.IRBuilder, start: ir.Value, count: int) -> ir.Value:
    """Return the address some bytes further on."""
    return builder.gep(start, [constant(I64, count)], source_etype=I8)


def load(builder: ir.IRBuilder, place: ir.Value, kind: ir.Type) -> ir.Value:
    """Read from any address."""
    value = builder.load(place, typ=kind)
    value.align = 1
    return value


def store(builder: ir.IRBuilder, value: ir.Value, place: ir.Value) -> None:
    """Write to any address."""
    builder.store(value, place).align = 1


def fill(builder: ir.IRBuilder, value: ir.Value, count: int = LANES) -> ir.Value:
    """Return a vector full of a number."""
    kind = ir.VectorType(value.type, count)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, constant(I32, 0))
    return builder.shuffle_vector(first, first, constant(ir.VectorType(I32, count), 0))


def fma(builder: ir.IRBuilder, one: ir.Value, other: ir.Value, added: ir.Value) -> ir.Value:
    """Return `one * other + added`, rounded once."""
    kind = one.type
    function = declare(builder.module, f"llvm.fma.{_suffix(kind)}", kind, [kind] * 3)
    return builder.call(function, [one, other, added])


def maximum(builder: ir.IRBuilder, one: ir.Value, other: ir.Value) -> ir.Value:
    """Return the greater of two numbers, or of each pair in two vectors."""
    return builder.select(builder.fcmp_ordered(">", one, other), one, other)


def call_unary(builder: ir.IRBuilder, name: str, value: ir.Value) -> ir.Value:
    """Return what one of LLVM's functions makes of a number or vector."""
    function = declare(builder.module, f"llvm.{name}.{_suffix(value.type)}", value.type, [value.type])
    return builder.call(function, [value])


def prefetch(builder: ir.IRBuilder, place: ir.Value) -> None:
    """Have memory that is read soon brought near; any address will do."""
    function = declare(builder.module, "llvm.prefetch.p0", NOTHING, [POINTER, I32, I32, I32])
    builder.call(function, [place, *(constant(I32, one) for one in _TO_READ_SOON)])


def reduce_lanes(builder: ir.IRBuilder, value: ir.Value, combine: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
    """Combine the numbers of a vector, halves with halves."""
    count = value.type.count
    while count > 1:
        count //= 2
        low, high = (
            builder.shuffle_vector(
                value, value, ir.Constant(ir.VectorType(I32, count), list(range(start, start + count)))
            )
            for start in (0, count)
        )
        value = combine(low, high)
    return builder.extract_element(value, constant(I32, 0))


def exp(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return e to the power of a vector, within 2e-7; exactly 0 for very small powers."""
    kind = value.type
    whole = ir.VectorType(I32, kind.count)

    def number(content: float) -> ir.Constant:
        return constant(kind, content)

    small = builder.fcmp_ordered("<", value, number(_LEAST_EXPONENT))
    large = builder.fcmp_ordered(">", value, number(_GREATEST_EXPONENT))
    power = builder.select(small, number(_LEAST_EXPONENT), builder.select(large, number(_GREATEST_EXPONENT), value))
    twos = call_unary(builder, "rint", builder.fmul(power, number(_LOG2_E)))
    rest = fma(builder, twos, number(-_LN2_HIGH), power)
    rest = fma(builder, twos, number(-_LN2_LOW), rest)
    series: ir.Value = number(_EXP[0])
    for coefficient in _EXP[1:]:
        series = fma(builder, series, rest, number(coefficient))
    series = builder.fadd(fma(builder, series, builder.fmul(rest, rest), rest), number(1.0))
    shifted = builder.add(builder.fptosi(twos, whole), constant(whole, _BIAS))
    scale = builder.bitcast(builder.shl(shifted, constant(whole, _MANTISSA_BITS)), kind)
    return builder.select(small, number(0.0), builder.fmul(series, scale))


def erf(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return the error function of a vector, within 3e-7."""
    kind = value.type
    one = constant(kind, 1.0)
    size = call_unary(builder, "fabs", value)
    part = builder.fdiv(one, fma(builder, size, constant(kind, _ERF_SCALE), one))
    series: ir.Value = constant(kind, _ERF[0])
    for coefficient in _ERF[1:]:
        series = fma(builder, series, part, constant(kind, coefficient))
    rest = builder.fmul(series, exp(builder, builder.fneg(builder.fmul(value, value))))
    magnitude = builder.fsub(one, rest)
    negative = builder.fcmp_ordered("<", value, constant(kind, 0.0))
    return builder.select(negative, builder.fneg(magnitude), magnitude)


def declare(module: ir.Module, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    """Return a function of this name, declared once."""
    known = module.globals.get(name)
    return known if known is not None else ir.Function(module, ir.FunctionType(result, arguments), name)


def constant(kind: ir.Type, value: float) -> ir.Constant:
    """Return a number, or a vector full of it."""
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def _suffix(kind: ir.Type) -> str:
    return f"v{kind.count}f32" if isinstance(kind, ir.VectorType) else "f32"
