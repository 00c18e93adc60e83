"""Block headers, compact targets and work.

The header is 80 bytes: version u16 ‖ time u48 ‖ height u32 ‖ compact target u32 ‖ previous id ‖ Merkle root.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.types import BlockId
from kernels import cosmic_harmony

HEADER = struct.Struct("<QII32s32s")
HEADER_BYTES = 80
HEADER_VERSION = 1
MAX_TIME = 2**48 - 1
MAX_TARGET = 2**256 - 1


@dataclass(frozen=True)
class Header:
    """A header with its nonce. `time` is Unix seconds, `target` compact."""

    time: int
    height: int
    target: int
    previous: BlockId
    merkle_root: bytes
    nonce: int = 0
    version: int = HEADER_VERSION

    @cached_property
    def raw(self) -> bytes:
        """The 80 bytes under the nonce."""
        return HEADER.pack(
            self.version | self.time << 16, self.height, self.target, self.previous, self.merkle_root
        )

    @cached_property
    def id(self) -> BlockId:
        """The block id, keccak256(header ‖ nonce)."""
        return BlockId(cosmic_harmony.block_id(self.raw, self.nonce))

    def encode(self) -> bytes:
        """Return header ‖ nonce, 88 bytes."""
        return self.raw + self.nonce.to_bytes(8, "little")

    @staticmethod
    def decode(data: bytes) -> Header:
        """Read 88 bytes. Raises `RuleBrokenError(MALFORMED)`."""
        if len(data) != HEADER_BYTES + 8:
            raise RuleBrokenError(Reason.MALFORMED, f"a header with its nonce has 88 bytes, not {len(data)}")
        word, height, target, previous, root = HEADER.unpack(data[:HEADER_BYTES])
        nonce = int.from_bytes(data[HEADER_BYTES:], "little")
        return Header(word >> 16, height, target, BlockId(previous), root, nonce, word & 0xFFFF)


def compact_to_target(compact: int) -> int:
    """Expand a compact target: mantissa (low 23 bits) · 256^(exponent − 3), as Bitcoin's nBits.

    Raises `RuleBrokenError(BAD_TARGET)` for forms that `target_to_compact` would not make.
    """
    exponent, mantissa = compact >> 24, compact & 0x7FFFFF
    target = mantissa << 8 * (exponent - 3) if exponent >= 3 else mantissa >> 8 * (3 - exponent)
    if not 0 < target <= MAX_TARGET or target_to_compact(target) != compact:
        raise RuleBrokenError(Reason.BAD_TARGET, f"0x{compact:08x} is not a canonical compact target")
    return target


def target_to_compact(target: int) -> int:
    """Round a target down to its compact form."""
    size = (target.bit_length() + 7) // 8
    mantissa = target >> 8 * (size - 3) if size >= 3 else target << 8 * (3 - size)
    if mantissa & 0x800000:  # the sign bit of Bitcoin's form stays clear
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


def work_of(compact: int) -> int:
    """Expected hashes for a block at this target: 2²⁵⁶ / (target + 1)."""
    return 2**256 // (compact_to_target(compact) + 1)
