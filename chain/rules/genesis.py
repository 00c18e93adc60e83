"""The first block of each network. It needs no work."""

from __future__ import annotations

from chain.rules.block import Block, pack_transactions, witness_commitment
from chain.rules.hashing import sha256
from chain.rules.header import Header
from chain.rules.params import Network, NetworkParams
from chain.rules.records import ZERO20, Kind, Transaction
from chain.rules.types import BlockId, KeyHash
from kernels import cosmic_harmony

NO_PARENT = BlockId(bytes(32))
"""What the genesis block names as its parent."""

NOBODY = KeyHash(sha256(b"ZION genesis")[:20])
"""Recipient of the empty coinbase on networks without a treasury: it has no key."""

DEV_TREASURY = KeyHash(bytes.fromhex("cd4a214af0ea86ef29fd0a06985454bd59db4c95"))
"""Key hash of `chain.rules.params.DEV_TREASURY_SECRET`: recipient of the dev network's coins."""


def genesis_block(params: NetworkParams) -> Block:
    """Return the network's genesis block."""
    recipient = DEV_TREASURY if params.network is Network.DEV else NOBODY
    coinbase = Transaction(
        Kind.COINBASE,
        params.chain_id,
        nonce=0,
        amount=params.treasury,
        fee=0,
        sender=ZERO20,
        recipient=recipient,
        hash=sha256(b""),
    )
    bodies, witnesses = pack_transactions([coinbase])
    if witness_commitment(witnesses) != coinbase.hash:
        raise AssertionError("an empty block commits to no witnesses")
    txids = cosmic_harmony.keccak256_batch_128(bodies)
    root = cosmic_harmony.merkle_root(txids)
    return Block(Header(params.genesis_time, 0, params.pow_limit, NO_PARENT, root), bodies, witnesses)
