"""What happens to activations between products, token by token."""

from __future__ import annotations

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
    call_unary,
    constant,
    counting,
    define,
    exp,
    fill,
    fma,
    load,
    reduce_lanes,
    store,
)

_VECTOR_BYTES = LANES * FLOAT_BYTES


def define_norm(module: ir.Module) -> None:
    """Define `norm`: root mean square normalization (Zhang and Sennrich 2019, arXiv 1910.07467).

    Its arguments: inputs, float32 (tokens, size); weights and one number more, the epsilon, float32 (size + 1);
    outputs, as inputs; then the numbers of tokens and of vectors in each, size / 8.
    """
    builder, (inputs, weights, outputs, tokens, vectors) = define(module, "norm", [POINTER] * 3 + [I64] * 2)
    size = builder.uitofp(builder.mul(vectors, constant(I64, LANES)), FLOAT)
    epsilon = load(builder, at(builder, weights, vectors, _VECTOR_BYTES), FLOAT)
    with counting(builder, 0, tokens) as token:
        start = builder.mul(token, vectors)
        squares = Variable(builder, constant(FLOATS, 0.0))
        with counting(builder, 0, vectors) as index:
            value = load(builder, at(builder, inputs, builder.add(start, index), _VECTOR_BYTES), FLOATS)
            squares.set(fma(builder, value, value, squares.get()))
        mean = builder.fdiv(reduce_lanes(builder, squares.get(), builder.fadd), size)
        root = call_unary(builder, "sqrt", builder.fadd(mean, epsilon))
        scale = fill(builder, builder.fdiv(constant(FLOAT, 1.0), root))
        with counting(builder, 0, vectors) as index:
            here = builder.add(start, index)
            value = builder.fmul(load(builder, at(builder, inputs, here, _VECTOR_BYTES), FLOATS), scale)
            weight = load(builder, at(builder, weights, index, _VECTOR_BYTES), FLOATS)
            store(builder, builder.fmul(value, weight), at(builder, outputs, here, _VECTOR_BYTES))
    builder.ret_void()


def define_gate(module: ir.Module) -> None:
    """Define `gate`: `silu(gate) * up`.

    Its arguments: inputs, float32 (tokens, 2 * size), gates before ups; outputs, float32 (tokens, size); then the
    numbers of tokens and of vectors in each output, size / 8.
    """
    builder, (inputs, outputs, tokens, vectors) = define(module, "gate", [POINTER] * 2 + [I64] * 2)
    one = constant(FLOATS, 1.0)
    with counting(builder, 0, tokens) as token, counting(builder, 0, vectors) as index:
        here = builder.add(builder.mul(token, vectors), index)
        left = builder.add(builder.mul(token, vectors), here)
        gate = load(builder, at(builder, inputs, left, _VECTOR_BYTES), FLOATS)
        up = load(builder, at(builder, inputs, builder.add(left, vectors), _VECTOR_BYTES), FLOATS)
        opened = builder.fdiv(gate, builder.fadd(one, exp(builder, builder.fneg(gate))))
        store(builder, builder.fmul(opened, up), at(builder, outputs, here, _VECTOR_BYTES))
    builder.ret_void()


def define_rotation(module: ir.Module) -> None:
    """Define `rotate`: turns queries and keys, and puts keys and values in their place in the cache.

    The two numbers that are turned together are side by side. Its arguments: queries, keys and values, float32
    (tokens, heads + 2 * kv heads, size), of which the queries are turned where they are; rotations, float32
    (tokens, size), cosine and sine of each pair; a cache, float32 (2, kv heads, capacity, size); then the numbers
    of tokens, heads, kv heads and vectors in each, size / 8; the capacity; and the first token's position.
    """
    builder, arguments = define(module, "rotate", [POINTER] * 3 + [I64] * 6)
    mixed, rotations, cache, tokens, heads, shared, vectors, capacity, start = arguments
    turned = builder.add(heads, shared)
    width = builder.add(turned, shared)
    with counting(builder, 0, tokens) as token:
        position = builder.add(start, token)
        first = builder.mul(builder.mul(token, width), vectors)

        def cached(head: ir.Value) -> ir.Value:
            """Return where a key's or value's vectors start in the cache."""
            return builder.mul(builder.add(builder.mul(builder.sub(head, heads), capacity), position), vectors)

        with counting(builder, 0, vectors) as index:
            rotation = load(
                builder, at(builder, rotations, builder.add(builder.mul(token, vectors), index), _VECTOR_BYTES), FLOATS
            )
            cosines, sines = _pairs(builder, rotation)

            def turn(head: ir.Value) -> tuple[ir.Value, ir.Value]:
                place = at(
                    builder, mixed, builder.add(builder.add(first, builder.mul(head, vectors)), index), _VECTOR_BYTES
                )
                value = load(builder, place, FLOATS)
                swapped = _shuffle(builder, value, [lane ^ 1 for lane in range(LANES)])
                return place, fma(builder, value, cosines, builder.fmul(swapped, sines))

            with counting(builder, 0, heads) as head:
                place, result = turn(head)
                store(builder, result, place)
            with counting(builder, heads, turned) as head:
                _, result = turn(head)
                store(builder, result, at(builder, cache, builder.add(cached(head), index), _VECTOR_BYTES))
            with counting(builder, turned, width) as head:
                source = builder.add(builder.add(first, builder.mul(head, vectors)), index)
                value = load(builder, at(builder, mixed, source, _VECTOR_BYTES), FLOATS)
                store(builder, value, at(builder, cache, builder.add(cached(head), index), _VECTOR_BYTES))
    builder.ret_void()


def _pairs(builder: ir.IRBuilder, rotation: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Return the cosine of each pair for both of its numbers, and its sine, negative for the first."""
    cosines = _shuffle(builder, rotation, [lane & ~1 for lane in range(LANES)])
    sines = _shuffle(builder, rotation, [lane | 1 for lane in range(LANES)])
    signs = ir.Constant(FLOATS, [-1.0, 1.0] * (LANES // 2))
    return cosines, builder.fmul(sines, signs)


def _shuffle(builder: ir.IRBuilder, value: ir.Value, lanes: list[int]) -> ir.Value:
    return builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(I32, LANES), lanes))
