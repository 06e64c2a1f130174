"""Kernels for reading a few tokens of a reply on a GPU, where the time goes into reading weights and starting kernels.

Written in Triton, which comes with torch for CUDA. All take up to 16 tokens, the number of rows
that the matrix units multiply anyhow, and how many there are they read from the device: so what a
step costs does not depend on it, and the result for a token does not depend on those read with
it, bit by bit.

Between kernels, a normalisation is divided among both sides: whoever computes states also leaves
them multiplied by the weights of the next normalisation, with the sum of the squares of its part;
whoever reads them multiplies by the weights of its layer and scales the result.

Common arguments: `places` holds, as int64, where the first token goes, where the last one goes, and
the tokens; matrices have a row for each output, in 16, 8 or 4 bits as `core.models.quantised_linear`
keeps them (`scales` and `zeros` are not looked at where there are none).
"""

from __future__ import annotations

import os

import triton
import triton.language as tl

from core.models.fixed_cache import HEADER
from core.models.quantize import GROUP

TOKENS = 16
"""Rows that are computed, whether there are so many tokens or not."""
BLOCK = 16
"""Outputs of a program that multiplies: few, so that all of a GPU has something to do."""
SPLIT = 128
"""Keys that one program looks at."""
_TILE = 64
_MERGED = 16
_HIDDEN = -1e30
"""Score of what may not be looked at: a number, since nothing minus nothing is none."""

tokens_of = tl.constexpr(TOKENS)
header_of = tl.constexpr(HEADER)
block_of = tl.constexpr(BLOCK)
split_of = tl.constexpr(SPLIT)
group_of = tl.constexpr(GROUP)
tile_of = tl.constexpr(_TILE)
merged_of = tl.constexpr(_MERGED)
hidden_of = tl.constexpr(_HIDDEN)
interpreted = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
unpacking = tl.constexpr("""{
    .reg .b32 low, high, one, eight, first, second, third, fourth;
    mov.b32 one, 0x3F803F80;
    mov.b32 eight, 0xC308C308;
    and.b32 low, $4, 0x0F0F0F0F;
    shr.u32 high, $4, 4;
    and.b32 high, high, 0x0F0F0F0F;
    prmt.b32 first, low, 0x43434343, 0x4140;
    prmt.b32 second, low, 0x43434343, 0x4342;
    prmt.b32 third, high, 0x43434343, 0x4140;
    prmt.b32 fourth, high, 0x43434343, 0x4342;
    fma.rn.bf16x2 first, first, one, eight;
    fma.rn.bf16x2 second, second, one, eight;
    fma.rn.bf16x2 third, third, one, eight;
    fma.rn.bf16x2 fourth, fourth, one, eight;
    fma.rn.bf16x2 $0, first, $5, $7;
    fma.rn.bf16x2 $1, second, $6, $8;
    fma.rn.bf16x2 $2, third, $9, $11;
    fma.rn.bf16x2 $3, fourth, $10, $12;
}""")
"""Takes 4 bytes, with the scales and zeros of their low and of their high halves, to the weights that these stand for.

In bfloat16, a code with 0x43 above it is 128 more; less 136, it is what is scaled.
"""


@triton.jit
def embed(places, table, gain, states, scaled, squares, width):
    """Look tokens up, for the first layer. Programs: blocks of states."""
    block = tl.program_id(0)
    token = tl.arange(0, tokens_of)
    count = tl.load(places + 1) - tl.load(places) + 1
    number = tl.load(places + header_of + token, mask=token < count, other=0)
    column = block * block_of + tl.arange(0, block_of)
    there = (token < count)[:, None] & (column < width)[None, :]
    values = tl.load(table + number[:, None] * width + column[None, :], mask=there, other=0.0)
    _leave(values, there, gain, states, scaled, squares, block, column, width)


@triton.jit
def ask(
    places, scaled, squares,
    query_codes, query_scales, query_zeros, query_bias,
    key_codes, key_scales, key_zeros, key_bias,
    value_codes, value_scales, value_zeros, value_bias,
    cosines, sines, angles, short,
    queries, keys, values,
    heads, kv_heads, capacity, width, epsilon,
    SIZE: tl.constexpr, BITS: tl.constexpr, BIASED: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Compute queries, keys and values, turn the first two, and keep the others. Programs: blocks of half heads.

    `cosines` and `sines`: (2, angles, SIZE / 2), the second for tokens after the first `short`.
    """
    half: tl.constexpr = SIZE // 2
    head = tl.program_id(0) // (half // block_of)
    first = tl.program_id(0) % (half // block_of) * block_of
    start, last = tl.load(places), tl.load(places + 1)
    token = tl.arange(0, tokens_of)
    here = token <= last - start
    column = first + tl.arange(0, block_of)
    codes, scales, zeros, bias, own = query_codes, query_scales, query_zeros, query_bias, head
    if head >= heads + kv_heads:
        codes, scales, zeros, bias, own = value_codes, value_scales, value_zeros, value_bias, head - heads - kv_heads
    elif head >= heads:
        codes, scales, zeros, bias, own = key_codes, key_scales, key_zeros, key_bias, head - heads
    row = own * SIZE + column
    ones, others = _multiply_both(
        scaled, codes, scales, zeros, row, codes, scales, zeros, row + half, row >= 0, here, width, BITS, DEPTH
    )
    scale = _scales(squares, here, width, epsilon)[:, None]
    ones, others = ones * scale, others * scale
    if BIASED:
        ones += tl.load(bias + row).to(tl.float32)[None, :]
        others += tl.load(bias + row + half).to(tl.float32)[None, :]
    if head < heads + kv_heads:
        at = start + token
        place = (at + tl.where(at >= short, angles, 0))[:, None] * half + column[None, :]
        cosine = tl.load(cosines + place, mask=here[:, None], other=0.0).to(tl.float32)
        sine = tl.load(sines + place, mask=here[:, None], other=0.0).to(tl.float32)
        turned = ones * cosine - others * sine
        others = others * cosine + ones * sine
        ones = turned
    if head < heads:
        target = queries + (token[:, None] * heads + head) * SIZE + column[None, :]
        _put_halves(target, ones, others, here, half)
    else:
        kept = keys
        if head >= heads + kv_heads:
            kept = values
        target = kept + (own.to(tl.int64) * capacity + start + token[:, None]) * SIZE + column[None, :]
        _put_halves(target, ones, others, here, half)


@triton.jit
def attend(
    places, queries, keys, values, sums, tops, totals,
    heads, kv_heads, capacity, window, scaling,
    SIZE: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """Gather what is found at some of the keys. Programs: heads, and parts of the text.

    Leaves, for each part, head and token: the largest score in `tops`, the sum of the weights in
    `totals`, and the weighted sum of the values in `sums`.
    """
    head, part = tl.program_id(0), tl.program_id(1)
    start, last = tl.load(places), tl.load(places + 1)
    if (part * split_of <= last) & ((part + 1) * split_of > start - window + 1):
        token = tl.arange(0, tokens_of)
        here = token <= last - start
        column = tl.arange(0, PADDED)
        inside = column < SIZE
        asked = tl.load(
            queries + (token[:, None] * heads + head) * SIZE + column[None, :],
            mask=here[:, None] & inside[None, :],
            other=0.0,
        )
        base = (head // (heads // kv_heads)).to(tl.int64) * capacity * SIZE
        top = tl.full((tokens_of,), hidden_of, tl.float32)
        total = tl.zeros((tokens_of,), tl.float32)
        found = tl.zeros((tokens_of, PADDED), tl.float32)
        for first in range(0, split_of, tile_of):
            key = part * split_of + first + tl.arange(0, tile_of)
            known = key <= last
            place = base + key[None, :] * SIZE + column[:, None]
            keys_here = tl.load(keys + place, mask=known[None, :] & inside[:, None], other=0.0)
            behind = start + token[:, None] - key[None, :]
            seen = (behind >= 0) & (behind < window) & here[:, None]
            score = tl.where(seen, tl.dot(asked, keys_here, input_precision="ieee") * scaling, hidden_of)
            higher = tl.maximum(top, tl.max(score, 1))
            weight = tl.where(seen, tl.exp(score - higher[:, None]), 0.0)
            fading = tl.exp(top - higher)
            place = base + key[:, None] * SIZE + column[None, :]
            values_here = tl.load(values + place, mask=known[:, None] & inside[None, :], other=0.0)
            found = tl.dot(weight.to(values_here.dtype), values_here, found * fading[:, None], input_precision="ieee")
            total = total * fading + tl.sum(weight, 1)
            top = higher
        line = (part * heads + head) * tokens_of + token
        tl.store(tops + line, top, mask=here)
        tl.store(totals + line, total, mask=here)
        tl.store(sums + line[:, None] * SIZE + column[None, :], found, mask=here[:, None] & inside[None, :])


@triton.jit
def merge(places, sums, tops, totals, gathered, heads, window, SIZE: tl.constexpr, PADDED: tl.constexpr):
    """Put together what was found in all parts of the text. Programs: heads, and tokens."""
    head, token = tl.program_id(0), tl.program_id(1)
    start, last = tl.load(places), tl.load(places + 1)
    if token <= last - start:
        oldest = tl.maximum(start - window + 1, 0) // split_of
        newest = last // split_of
        column = tl.arange(0, PADDED)
        inside = column < SIZE
        top = tl.full((), hidden_of, tl.float32)
        total = tl.zeros((), tl.float32)
        found = tl.zeros((PADDED,), tl.float32)
        for first in range(oldest // merged_of * merged_of, newest + 1, merged_of):
            part = first + tl.arange(0, merged_of)
            there = (part >= oldest) & (part <= newest)
            line = (part * heads + head) * tokens_of + token
            tops_here = tl.load(tops + line, mask=there, other=hidden_of)
            totals_here = tl.load(totals + line, mask=there, other=0.0)
            place = line[:, None] * SIZE + column[None, :]
            sums_here = tl.load(sums + place, mask=there[:, None] & inside[None, :], other=0.0)
            higher = tl.maximum(top, tl.max(tops_here, 0))
            weight = tl.exp(tops_here - higher)
            fading = tl.exp(top - higher)
            found = found * fading + tl.sum(sums_here * weight[:, None], 0)
            total = total * fading + tl.sum(totals_here * weight, 0)
            top = higher
        tl.store(
            gathered + (token * heads + head) * SIZE + column, (found / total).to(gathered.dtype.element_ty), inside
        )


@triton.jit
def add(
    places, inputs, codes, scales, zeros, bias, gain, states, scaled, squares, rows, width,
    BITS: tl.constexpr, BIASED: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Multiply, and add the result to the states. Programs: blocks of states."""
    block = tl.program_id(0)
    token = tl.arange(0, tokens_of)
    here = token <= tl.load(places + 1) - tl.load(places)
    row = block * block_of + tl.arange(0, block_of)
    there = here[:, None] & (row < rows)[None, :]
    result = _multiply(inputs, codes, scales, zeros, row, row < rows, here, width, BITS, DEPTH)
    if BIASED:
        result += tl.load(bias + row, mask=row < rows, other=0.0).to(tl.float32)[None, :]
    before = tl.load(states + token[:, None] * rows + row[None, :], mask=there, other=0.0).to(tl.float32)
    _leave(before + result, there, gain, states, scaled, squares, block, row, rows)


@triton.jit
def open_gates(
    places, scaled, squares,
    gate_codes, gate_scales, gate_zeros, gate_bias, wide_codes, wide_scales, wide_zeros, wide_bias,
    opened, rows, width, epsilon,
    BITS: tl.constexpr, BIASED: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Multiply by two matrices, and one result by the other, which is gated: SwiGLU. Programs: blocks of rows."""
    token = tl.arange(0, tokens_of)
    here = token <= tl.load(places + 1) - tl.load(places)
    row = tl.program_id(0) * block_of + tl.arange(0, block_of)
    gate, wide = _multiply_both(
        scaled, gate_codes, gate_scales, gate_zeros, row, wide_codes, wide_scales, wide_zeros, row,
        row < rows, here, width, BITS, DEPTH,
    )  # fmt: skip
    scale = _scales(squares, here, width, epsilon)[:, None]
    gate, wide = gate * scale, wide * scale
    if BIASED:
        gate += tl.load(gate_bias + row, mask=row < rows, other=0.0).to(tl.float32)[None, :]
        wide += tl.load(wide_bias + row, mask=row < rows, other=0.0).to(tl.float32)[None, :]
    result = gate / (1 + tl.exp(-gate)) * wide
    there = here[:, None] & (row < rows)[None, :]
    tl.store(opened + token[:, None] * rows + row[None, :], result.to(opened.dtype.element_ty), mask=there)


@triton.jit
def predict(
    places, scaled, squares, codes, scales, zeros, bias, logits, rows, width, epsilon,
    BITS: tl.constexpr, BIASED: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Compute what follows each token. Programs: blocks of the vocabulary."""
    token = tl.arange(0, tokens_of)
    here = token <= tl.load(places + 1) - tl.load(places)
    row = tl.program_id(0) * block_of + tl.arange(0, block_of)
    result = _multiply(scaled, codes, scales, zeros, row, row < rows, here, width, BITS, DEPTH)
    result *= _scales(squares, here, width, epsilon)[:, None]
    if BIASED:
        result += tl.load(bias + row, mask=row < rows, other=0.0).to(tl.float32)[None, :]
    tl.store(logits + token[:, None] * rows + row[None, :], result, mask=here[:, None] & (row < rows)[None, :])


@triton.jit
def _multiply(
    inputs, codes, scales, zeros, row, valid, here, width, BITS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Return (tokens, rows): inputs of shape (tokens, width), times some rows of a matrix."""
    result = tl.zeros((tokens_of, block_of), tl.float32)
    if BITS == 4:
        # Sums of their own: for products in a row, Triton lets all threads do the same.
        second = tl.zeros((tokens_of, block_of), tl.float32)
        groups = _open_groups(scales, zeros, row, valid, 0, width, DEPTH)
        for first in range(0, width // 2, DEPTH):
            lower, inside = _take(inputs, first, width // 2, 0, here, width, DEPTH)
            upper, inside = _take(inputs, first, width // 2, width // 2, here, width, DEPTH)
            low, high = _unpack(_read(codes, row, valid, first, inside, width // 2, DEPTH), groups, DEPTH)
            groups = _open_groups(scales, zeros, row, valid, first + DEPTH, width, DEPTH)
            result = _dot(lower, low, result)
            second = _dot(upper, high, second)
        result += second
    else:
        for first in range(0, width, DEPTH):
            given, inside = _take(inputs, first, width, 0, here, width, DEPTH)
            result = _dot(given, _read(codes, row, valid, first, inside, width, DEPTH), result)
    return _rescale(result, scales, row, valid, BITS)


@triton.jit
def _multiply_both(
    inputs, codes, scales, zeros, row, other_codes, other_scales, other_zeros, other_row, valid, here, width,
    BITS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Do the same with two matrices at once, which reads the inputs once."""
    one = tl.zeros((tokens_of, block_of), tl.float32)
    other = tl.zeros((tokens_of, block_of), tl.float32)
    if BITS == 4:
        second = tl.zeros((tokens_of, block_of), tl.float32)
        other_second = tl.zeros((tokens_of, block_of), tl.float32)
        groups = _open_groups(scales, zeros, row, valid, 0, width, DEPTH)
        other_groups = _open_groups(other_scales, other_zeros, other_row, valid, 0, width, DEPTH)
        for first in range(0, width // 2, DEPTH):
            lower, inside = _take(inputs, first, width // 2, 0, here, width, DEPTH)
            upper, inside = _take(inputs, first, width // 2, width // 2, here, width, DEPTH)
            low, high = _unpack(_read(codes, row, valid, first, inside, width // 2, DEPTH), groups, DEPTH)
            groups = _open_groups(scales, zeros, row, valid, first + DEPTH, width, DEPTH)
            one = _dot(lower, low, one)
            second = _dot(upper, high, second)
            pair = _read(other_codes, other_row, valid, first, inside, width // 2, DEPTH)
            low, high = _unpack(pair, other_groups, DEPTH)
            other_groups = _open_groups(other_scales, other_zeros, other_row, valid, first + DEPTH, width, DEPTH)
            other = _dot(lower, low, other)
            other_second = _dot(upper, high, other_second)
        one += second
        other += other_second
    else:
        for first in range(0, width, DEPTH):
            given, inside = _take(inputs, first, width, 0, here, width, DEPTH)
            one = _dot(given, _read(codes, row, valid, first, inside, width, DEPTH), one)
            other = _dot(given, _read(other_codes, other_row, valid, first, inside, width, DEPTH), other)
    return _rescale(one, scales, row, valid, BITS), _rescale(other, other_scales, other_row, valid, BITS)


@triton.jit
def _take(inputs, first, end, offset, here, width, DEPTH: tl.constexpr):
    """Return some columns of the inputs, and which of them there are."""
    token = tl.arange(0, tokens_of)
    column = first + tl.arange(0, DEPTH)
    inside = column < end
    place = token[:, None] * width + offset + column[None, :]
    return tl.load(inputs + place, mask=here[:, None] & inside[None, :], other=0.0), inside


@triton.jit
def _read(codes, row, valid, first, inside, width, DEPTH: tl.constexpr):
    """Return some columns of some rows, as (columns, rows)."""
    column = first + tl.arange(0, DEPTH)
    return tl.load(codes + row[None, :] * width + column[:, None], mask=inside[:, None] & valid[None, :], other=0)


@triton.jit
def _open_groups(scales, zeros, row, valid, first, width, DEPTH: tl.constexpr):
    """Return scales and zeros of the groups from a column on, then those of the other half; as (groups, rows).

    To be called one round ahead: what is not a part of a product's operands is not fetched early by itself.
    """
    groups = width // group_of
    group = tl.arange(0, DEPTH // group_of) + first // group_of
    there = (group < groups // 2)[:, None] & valid[None, :]
    place = row[None, :] * groups + group[:, None]
    low_scale = tl.load(scales + place, mask=there, other=0.0)
    low_zero = tl.load(zeros + place, mask=there, other=0.0)
    high_scale = tl.load(scales + groups // 2 + place, mask=there, other=0.0)
    high_zero = tl.load(zeros + groups // 2 + place, mask=there, other=0.0)
    return low_scale, low_zero, high_scale, high_zero


@triton.jit
def _unpack(pair, groups, DEPTH: tl.constexpr):
    """Return the weights of columns of both halves that codes of 4 bits stand for, as (columns, rows)."""
    low_scale, low_zero = _spread(groups[0], DEPTH), _spread(groups[1], DEPTH)
    high_scale, high_zero = _spread(groups[2], DEPTH), _spread(groups[3], DEPTH)
    if interpreted or low_scale.dtype != tl.bfloat16:
        low = ((pair & 15).to(low_scale.dtype) - 8) * low_scale + low_zero
        high = ((pair >> 4).to(low_scale.dtype) - 8) * high_scale + high_zero
    else:
        low, high = tl.inline_asm_elementwise(
            unpacking,
            "=r,=r,=r,=r,r,r,r,r,r,r,r,r,r",
            [pair, low_scale, low_zero, high_scale, high_zero],
            dtype=(tl.bfloat16, tl.bfloat16),
            is_pure=True,
            pack=4,
        )
    return low, high


@triton.jit
def _spread(values, DEPTH: tl.constexpr):
    """Repeat numbers of (groups, rows) for all columns of a group."""
    groups: tl.constexpr = DEPTH // group_of
    return tl.reshape(tl.broadcast_to(tl.expand_dims(values, 1), (groups, group_of, block_of)), (DEPTH, block_of))


@triton.jit
def _dot(inputs, weights, result):
    return tl.dot(inputs, weights.to(inputs.dtype), result, input_precision="ieee")


@triton.jit
def _rescale(result, scales, row, valid, BITS: tl.constexpr):
    """Multiply by the rows' scales, where they have one each."""
    if BITS == 8:
        result *= tl.load(scales + row, mask=valid, other=0.0).to(tl.float32)[None, :]
    return result


@triton.jit
def _scales(squares, here, width, epsilon):
    """Return what each token's states are normalised by, from the sums of the squares of their blocks."""
    token = tl.arange(0, tokens_of)
    blocks = width // block_of
    total = tl.zeros((tokens_of,), tl.float32)
    for first in range(0, blocks, 64):
        block = first + tl.arange(0, 64)
        there = here[:, None] & (block < blocks)[None, :]
        total += tl.sum(tl.load(squares + token[:, None] * blocks + block[None, :], mask=there, other=0.0), 1)
    return tl.rsqrt(total / width + epsilon)


@triton.jit
def _leave(values, there, gain, states, scaled, squares, block, column, width):
    """Leave states of some columns, and what the next layer needs of them."""
    token = tl.arange(0, tokens_of)
    kept = values.to(states.dtype.element_ty)
    exact = kept.to(tl.float32)
    weights = tl.load(gain + column, mask=column < width, other=0.0).to(tl.float32)
    place = token[:, None] * width + column[None, :]
    tl.store(states + place, kept, mask=there)
    tl.store(scaled + place, (exact * weights[None, :]).to(kept.dtype), mask=there)
    tl.store(squares + token * (width // block_of) + block, tl.sum(exact * exact, 1))


@triton.jit
def _put_halves(target, ones, others, here, half):
    """Store both halves of a head's numbers."""
    tl.store(target, ones.to(target.dtype.element_ty), mask=here[:, None])
    tl.store(target + half, others.to(target.dtype.element_ty), mask=here[:, None])
