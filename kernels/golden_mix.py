"""The golden-ratio mix between Cosmic Harmony's two Keccak calls, as a Numba building block.

Twelve 32-bit words: s0..s7 are the little-endian words of the seed S, s[8 + i] = s[i] ^ s[4 + i] ^
0x9E3779B9. In round r of twelve, for i in 0..11 in this order: s[i] = (rotl32(s[i], r) ^ s[(i + 1) mod 12])
* 1618033 mod 2^32. Source: docs/zion-protocol.md, "Proof of work". The mix is invertible: all its strength
comes from Keccak around it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.vector_ir import LANES, data_pointer, load_words, rotate_left, splat, store_words, word_type

MIX_WORDS = 12
MIX_ROUNDS = 12
GOLDEN_MULTIPLIER = 1618033
"""The golden ratio times 10^6, rounded down."""
GOLDEN_OFFSET = 0x9E3779B9
"""2^32 divided by the golden ratio, rounded down."""


def emit_mix(builder: ir.IRBuilder, s: list[ir.Value]) -> list[ir.Value]:
    """Emit the twelve rounds over twelve 32-bit words and return the new ones."""
    s = list(s)
    multiplier = splat(s[0].type, GOLDEN_MULTIPLIER)
    for number in range(MIX_ROUNDS):
        for i in range(MIX_WORDS):
            mixed = builder.xor(rotate_left(builder, s[i], number), s[(i + 1) % MIX_WORDS])
            s[i] = builder.mul(mixed, multiplier)
    return s


def _halves(builder: ir.IRBuilder, word: ir.Value, lanes: int) -> list[ir.Value]:
    half = word_type(32, lanes)
    return [builder.trunc(word, half), builder.trunc(builder.lshr(word, splat(word.type, 32)), half)]


def _joined(builder: ir.IRBuilder, low: ir.Value, high: ir.Value, lanes: int) -> ir.Value:
    whole = word_type(64, lanes)
    return builder.or_(builder.zext(low, whole), builder.shl(builder.zext(high, whole), splat(whole, 32)))


def _mix_of(lanes: int) -> Any:
    def mix(typing_context: Any, state: Any) -> Any:  # noqa: ARG001 - Numba passes it
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            base = data_pointer(context, builder, signature.args[0], arguments[0])
            s = [
                half
                for word in load_words(builder, base, range(4), lanes)
                for half in _halves(builder, word, lanes)
            ]
            offset = splat(s[0].type, GOLDEN_OFFSET)
            s += [builder.xor(builder.xor(s[i], s[4 + i]), offset) for i in range(4)]
            s = emit_mix(builder, s)
            words = [_joined(builder, s[2 * i], s[2 * i + 1], lanes) for i in range(6)]
            store_words(builder, base, range(4, 10), words, lanes)
            return context.get_dummy_value()

        return types.none(state), codegen

    return intrinsic(mix)


golden_mix = _mix_of(1)
"""njit: read the seed S from words 0..3 of a uint64 state, write the twelve mixed words into words 4..9."""

golden_mix_lanes = _mix_of(LANES)
"""njit: the same for LANES states; word i of lane l is ``state[i * LANES + l]``."""
