"""Keccak-f[1600] as a Numba building block, scalar and in SIMD lanes from one description.

Source: FIPS 202, section 3.2 (theta, rho, pi, chi, iota); lane (x, y) of the state is word ``x + 5 * y``.
The permutation is emitted as LLVM IR: 25 words stay in registers over all rounds, which Numba's own loops
over arrays do not reach, and it compiles in a fraction of the time of the same rounds as Numba source
(docs/decisions/0010).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from kernels.compile_cache import building_block
from kernels.vector_ir import (
    INDEX,
    LANES,
    WORD,
    broadcast,
    data_pointer,
    load_words,
    rotate_left,
    store_words,
)

STATE_WORDS = 25
ROUNDS = 24

ROUND_CONSTANTS = (
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000,
    0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A,
    0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
)  # fmt: skip
"""What iota adds to lane (0, 0) in each round (FIPS 202, section 3.2.5)."""

ROTATIONS = (
    (0, 36, 3, 41, 18),
    (1, 44, 10, 45, 2),
    (62, 6, 43, 15, 61),
    (28, 55, 25, 21, 56),
    (27, 20, 39, 8, 14),
)
"""By how many bits rho rotates lane (x, y): ``ROTATIONS[x][y]`` (FIPS 202, section 3.2.2, modulo 64)."""


def emit_round(builder: ir.IRBuilder, a: list[ir.Value], constant: ir.Value) -> list[ir.Value]:
    """Emit one round over 25 words and return the new ones."""
    xor = builder.xor
    # theta: fold the parity of two neighbouring columns into each column
    parity = []
    for x in range(5):
        column = a[x]
        for y in range(1, 5):
            column = xor(column, a[x + 5 * y])
        parity.append(column)
    effect = [xor(parity[(x + 4) % 5], rotate_left(builder, parity[(x + 1) % 5], 1)) for x in range(5)]
    # rho and pi: rotate each lane and move (x, y) to (y, 2x + 3y)
    b = list(a)
    for x in range(5):
        for y in range(5):
            moved = xor(a[x + 5 * y], effect[x])
            b[y + 5 * ((2 * x + 3 * y) % 5)] = rotate_left(builder, moved, ROTATIONS[x][y])
    # chi: the only non-linear step; iota: the round constant
    out = []
    for y in range(5):
        row = b[5 * y : 5 * y + 5]
        for x in range(5):
            out.append(xor(row[x], builder.and_(builder.not_(row[(x + 1) % 5]), row[(x + 2) % 5])))
    out[0] = xor(out[0], constant)
    return out


def emit_permutation(builder: ir.IRBuilder, words: list[ir.Value], lanes: int) -> list[ir.Value]:
    """Emit a loop of 24 rounds over 25 words; the builder is left behind the loop."""
    constants = _round_constants(builder.module)
    entry = builder.block
    loop = builder.append_basic_block("keccak.round")
    behind = builder.append_basic_block("keccak.behind")
    builder.branch(loop)

    builder.position_at_end(loop)
    number = builder.phi(INDEX)
    number.add_incoming(ir.Constant(INDEX, 0), entry)
    state = []
    for word in words:
        phi = builder.phi(word.type)
        phi.add_incoming(word, entry)
        state.append(phi)
    constant = builder.load(builder.gep(constants, [ir.Constant(INDEX, 0), number]))
    permuted = emit_round(builder, list(state), broadcast(builder, constant, lanes))
    following = builder.add(number, ir.Constant(INDEX, 1))
    number.add_incoming(following, loop)
    for phi, word in zip(state, permuted, strict=True):
        phi.add_incoming(word, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, ir.Constant(INDEX, ROUNDS)), loop, behind)

    builder.position_at_end(behind)
    return permuted


def _round_constants(module: ir.Module) -> ir.GlobalVariable:
    name = "keccak.round_constants"
    if name in module.globals:
        return module.globals[name]
    kind = ir.ArrayType(WORD, ROUNDS)
    table = ir.GlobalVariable(module, kind, name)
    table.initializer = ir.Constant(kind, list(ROUND_CONSTANTS))
    table.global_constant = True
    table.linkage = "internal"
    return table


def _permutation(module: ir.Module, lanes: int) -> ir.Function:
    """Return this module's function that permutes a flat state, emitted once however often it is called."""
    name = f"keccak.f1600.{lanes}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD.as_pointer()]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    words = load_words(builder, function.args[0], range(STATE_WORDS), lanes)
    store_words(builder, function.args[0], range(STATE_WORDS), emit_permutation(builder, words, lanes), lanes)
    builder.ret_void()
    return function


def _permutation_of(lanes: int) -> Any:
    def permute(typing_context: Any, state: Any) -> Any:  # noqa: ARG001 - Numba passes it
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            base = data_pointer(context, builder, signature.args[0], arguments[0])
            builder.call(_permutation(builder.module, lanes), [base])
            return context.get_dummy_value()

        return types.none(state), codegen

    return intrinsic(permute)


keccak_f1600 = _permutation_of(1)
"""njit: permute a contiguous uint64[25] state in place."""

keccak_f1600_lanes = _permutation_of(LANES)
"""njit: permute LANES states in place: uint64[25 * LANES], word i of lane l at ``i * LANES + l``."""


@building_block
def pad(state: NDArray[np.uint64], words: int, lanes: int) -> None:
    """Njit: pad `lanes` messages of `words` (at most 16) words in place to Keccak-256's rate of 17 words."""
    for i in range(words * lanes, STATE_WORDS * lanes):
        state[i] = np.uint64(0)
    for lane in range(lanes):
        state[words * lanes + lane] = np.uint64(1)
        state[16 * lanes + lane] ^= np.uint64(0x8000000000000000)
