"""Blocks as arrays: a header, (N, 16) uint64 bodies and (N, 25) uint64 witnesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.hashing import sha256
from chain.rules.header import HEADER_BYTES, Header
from chain.rules.params import MAX_BLOCK_TRANSACTIONS
from chain.rules.records import (
    BODY_BYTES,
    BODY_WORDS,
    RAW_BYTES,
    WITNESS_BYTES,
    WITNESS_WORDS,
    Transaction,
)
from chain.rules.records import decode_transaction as decode_raw
from chain.rules.types import BlockId, TxId
from kernels import cosmic_harmony

U64Array = NDArray[np.uint64]
U8Array = NDArray[np.uint8]

_HEAD_BYTES = HEADER_BYTES + 8 + 4
MAX_BLOCK_BYTES = _HEAD_BYTES + MAX_BLOCK_TRANSACTIONS * RAW_BYTES


@dataclass(frozen=True, eq=False)
class Block:
    """A block. `bodies` (N, 16) and `witnesses` (N, 25), both uint64 and C-contiguous, coinbase first."""

    header: Header
    bodies: U64Array
    witnesses: U64Array

    @property
    def id(self) -> BlockId:
        """The block id."""
        return self.header.id

    def __len__(self) -> int:
        return len(self.bodies)

    @cached_property
    def txids(self) -> U8Array:
        """Transaction ids: (N, 32) uint8."""
        return cosmic_harmony.keccak256_batch_128(self.bodies)

    def with_txids(self, txids: U8Array) -> Block:
        """Keep ids that were computed before, (N, 32) uint8, from the very bodies of this block."""
        self.__dict__["txids"] = txids
        return self

    @cached_property
    def txid_list(self) -> list[TxId]:
        """Transaction ids as bytes."""
        return cast("list[TxId]", split_rows(self.txids))

    def txid(self, index: int) -> TxId:
        """Return the id of one transaction."""
        return TxId(self.txids[index].tobytes())

    def witness(self, index: int) -> bytes:
        """Return the 200 witness bytes of one transaction."""
        return bytes(self.witnesses[index].tobytes())

    def transaction(self, index: int) -> Transaction:
        """Return one transaction in its readable form."""
        return decode_raw(self.bodies[index].tobytes() + self.witness(index))

    def transactions(self) -> list[Transaction]:
        """Return all, coinbase first."""
        return [self.transaction(index) for index in range(len(self))]

    def encode(self) -> bytes:
        """Return header ‖ nonce ‖ count u32 ‖ all bodies ‖ all witnesses."""
        count = len(self).to_bytes(4, "little")
        return self.header.encode() + count + self.bodies.tobytes() + self.witnesses.tobytes()

    @staticmethod
    def decode(data: bytes) -> Block:
        """Read `encode`'s form. Raises `RuleBrokenError`."""
        if len(data) > MAX_BLOCK_BYTES:
            raise RuleBrokenError(Reason.TOO_LARGE, f"a block has at most {MAX_BLOCK_BYTES} bytes")
        if len(data) < _HEAD_BYTES:
            raise RuleBrokenError(Reason.MALFORMED, "the block is cut off")
        header = Header.decode(data[: HEADER_BYTES + 8])
        count = int.from_bytes(data[_HEAD_BYTES - 4 : _HEAD_BYTES], "little")
        if len(data) != _HEAD_BYTES + count * RAW_BYTES:
            raise RuleBrokenError(Reason.MALFORMED, "the block's length does not fit its transaction count")
        bodies_end = _HEAD_BYTES + count * BODY_BYTES
        return Block(
            header,
            np.frombuffer(data[_HEAD_BYTES:bodies_end], np.uint64).reshape(count, BODY_WORDS).copy(),
            np.frombuffer(data[bodies_end:], np.uint64).reshape(count, WITNESS_WORDS).copy(),
        )


def split_rows(rows: U8Array | U64Array) -> list[bytes]:
    """Return the rows of a C-contiguous 2-D array as bytes objects, without a Python loop."""
    width = rows.shape[1] * rows.itemsize
    found: list[bytes] = rows.view(f"V{width}").ravel().tolist()
    return found


def pack_transactions(transactions: Sequence[Transaction]) -> tuple[U64Array, U64Array]:
    """Return bodies and witnesses of transactions as a block's arrays."""
    bodies = b"".join([tx.body for tx in transactions])
    witnesses = b"".join([tx.witness_bytes for tx in transactions])
    count = len(transactions)
    return (
        np.frombuffer(bodies, np.uint64).reshape(count, BODY_WORDS).copy(),
        np.frombuffer(witnesses, np.uint64).reshape(count, WITNESS_WORDS).copy(),
    )


def join_txids(transactions: Sequence[Transaction]) -> U8Array:
    """Return the ids of transactions as (N, 32) uint8; each is hashed once, when first asked for."""
    joined = bytearray(b"".join([tx.txid for tx in transactions]))
    return np.frombuffer(joined, np.uint8).reshape(len(transactions), 32)


def witness_commitment(witnesses: U64Array) -> bytes:
    """SHA-256 of all witnesses but the coinbase's: what the coinbase carries in `hash`."""
    return sha256(witnesses[1:].tobytes())


assert WITNESS_BYTES == 8 * WITNESS_WORDS  # noqa: S101
