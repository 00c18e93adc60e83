"""The first block of each network, by decree: no work is asked of it."""

from __future__ import annotations

from chain.block import Block, pack_transactions, witness_commitment
from chain.hashing import sha256
from chain.header import Header
from chain.keys import Key
from chain.params import Network, NetworkParams
from chain.records import Kind, Transaction
from kernels import cosmic_harmony

NOBODY = sha256(b"ZION genesis")[:20]
"""Recipient of the empty coinbase on networks without a treasury: nobody holds its key."""


def dev_treasury_key() -> Key:
    """Return the key of the dev network's treasury. EVERYBODY knows it: it is worth nothing elsewhere.

    secret = sha256("ZION dev network treasury: this key is public").
    """
    return Key.from_secret(sha256(b"ZION dev network treasury: this key is public"))


def genesis_block(params: NetworkParams) -> Block:
    """Return the network's genesis block."""
    recipient = dev_treasury_key().key_hash if params.network is Network.DEV else NOBODY
    coinbase = Transaction(
        Kind.COINBASE,
        params.chain_id,
        nonce=0,
        amount=params.treasury,
        fee=0,
        sender=bytes(20),
        recipient=recipient,
        hash=sha256(b""),
    )
    bodies, witnesses = pack_transactions([coinbase])
    if witness_commitment(witnesses) != coinbase.hash:
        raise AssertionError("an empty block commits to no witnesses")
    txids = cosmic_harmony.keccak256_batch_128(bodies)
    root = cosmic_harmony.merkle_root(txids)
    return Block(Header(params.genesis_time, 0, params.pow_limit, bytes(32), root), bodies, witnesses)
