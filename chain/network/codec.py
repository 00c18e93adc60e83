"""How headers, blocks and transactions look on the wire. Only this module knows their layout.

A new block format changes this file and `PROTOCOL_VERSION`; messages, core and driver stay.
"""

from __future__ import annotations

from chain.rules.block import MAX_BLOCK_BYTES, Block, U64Array
from chain.rules.errors import RuleBrokenError
from chain.rules.hashing import keccak256, sha256
from chain.rules.header import HEADER_BYTES, Header
from chain.rules.params import MAX_BLOCK_TRANSACTIONS
from chain.rules.records import BODY_BYTES, RAW_BYTES, Transaction
from chain.rules.types import WtxId

PROTOCOL_VERSION = 1
"""Version of messages and of the records in them."""

WIRE_HEADER_BYTES = HEADER_BYTES + 8
WIRE_TRANSACTION_BYTES = RAW_BYTES
WIRE_BLOCK_BYTES = MAX_BLOCK_BYTES
MAX_TRANSACTIONS = MAX_BLOCK_TRANSACTIONS


def wtxid_of(raw: bytes) -> WtxId:
    """Return sha256(txid ‖ witness) of a transaction's bytes, body ‖ witness.

    A transaction id does not cover the witness. If relay went by it, a stranger could send a claim with a
    broken witness first, and every node would then refuse the real one.
    """
    return WtxId(sha256(keccak256(raw[:BODY_BYTES]) + raw[BODY_BYTES:]))


def raw_transactions(block: Block) -> list[bytes]:
    """Return the transactions of a block as they are relayed, the coinbase first."""
    return [block.bodies[i].tobytes() + block.witness(i) for i in range(len(block))]


def block_of_raws(header: Header, raws: list[bytes]) -> Block:
    """Return the block with these transactions. Raises `RuleBrokenError` for wrong sizes."""
    bodies = b"".join(raw[:BODY_BYTES] for raw in raws)
    witnesses = b"".join(raw[BODY_BYTES:] for raw in raws)
    return Block.decode(header.encode() + len(raws).to_bytes(4, "little") + bodies + witnesses)


def block_wtxids(block: Block) -> list[WtxId]:
    """Return the wtxids of a block's transactions, the coinbase first."""
    return [WtxId(sha256(block.txid(i) + block.witness(i))) for i in range(len(block))]


def rows_of(keys: bytes, ids: list[WtxId]) -> U64Array:
    """Return 128-byte rows key 16 ‖ wtxid 32 ‖ zeros, for the short ids of compact blocks."""
    import numpy as np

    packed = b"".join(keys + wtxid + bytes(80) for wtxid in ids)
    return np.frombuffer(packed, np.uint64).reshape(len(ids), 16).copy()


__all__ = [
    "Block",
    "Header",
    "RuleBrokenError",
    "Transaction",
    "WtxId",
    "block_of_raws",
    "block_wtxids",
    "raw_transactions",
    "rows_of",
    "wtxid_of",
]
