"""Small helpers for kernels written as LLVM IR: the same code emits scalars (one lane) and SIMD vectors.

A word is an LLVM integer, or a vector of integers with one nonce (or record) per lane. In memory word i of
lane l lies at ``flat[i * lanes + l]``, so a word of all lanes is one contiguous load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

LANES = 8
"""Lanes per vector: eight 64-bit words fill an AVX-512 register; other machines use two or four."""

INDEX = ir.IntType(64)
WORD = ir.IntType(64)


def word_type(bits: int, lanes: int) -> ir.Type:
    """Return the LLVM type of one word across `lanes` lanes."""
    return ir.IntType(bits) if lanes == 1 else ir.VectorType(ir.IntType(bits), lanes)


def splat(of: ir.Type, value: int) -> ir.Constant:
    """Return `value` in every lane of a word type."""
    return ir.Constant(of, [value] * of.count if isinstance(of, ir.VectorType) else value)


def broadcast(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    """Return a scalar computed at run time in every lane."""
    if lanes == 1:
        return scalar
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, splat(word_type(32, lanes), 0))


def rotate_left(builder: ir.IRBuilder, word: ir.Value, count: int) -> ir.Value:
    """Rotate every lane left by a constant; LLVM makes one rotation of it where the machine has one."""
    if count == 0:
        return word
    bits = (word.type.element if isinstance(word.type, ir.VectorType) else word.type).width
    return builder.or_(
        builder.shl(word, splat(word.type, count)), builder.lshr(word, splat(word.type, bits - count))
    )


def load_words(builder: ir.IRBuilder, base: ir.Value, indexes: Sequence[int], lanes: int) -> list[ir.Value]:
    """Load the words at `indexes` from a flat uint64 array."""
    return [builder.load(_word_pointer(builder, base, i, lanes), align=8) for i in indexes]


def store_words(
    builder: ir.IRBuilder, base: ir.Value, indexes: Sequence[int], words: Sequence[ir.Value], lanes: int
) -> None:
    """Store words at `indexes` of a flat uint64 array."""
    for i, word in zip(indexes, words, strict=True):
        builder.store(word, _word_pointer(builder, base, i, lanes), align=8)


def _word_pointer(builder: ir.IRBuilder, base: ir.Value, index: int, lanes: int) -> ir.Value:
    words = builder.bitcast(base, word_type(64, lanes).as_pointer())
    return builder.gep(words, [ir.Constant(INDEX, index)])


def data_pointer(context: Any, builder: ir.IRBuilder, array_type: Any, array: ir.Value) -> ir.Value:
    """Return the data pointer of a Numba array."""
    return context.make_array(array_type)(context, builder, array).data
