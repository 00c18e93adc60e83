"""Building blocks: choosing transactions, the coinbase, the header; finding a nonce for easy targets."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chain.consensus.chain import Chain
from chain.rules.block import Block, join_txids, pack_transactions, witness_commitment
from chain.rules.errors import RuleBrokenError
from chain.rules.header import Header, compact_to_target
from chain.rules.records import ZERO20, Kind, Transaction
from chain.rules.rewards import experience, reward
from chain.rules.types import KeyHash
from chain.state.store import StateWriter
from kernels import cosmic_harmony

_SCAN_STEP = 1 << 16


def assemble(
    chain: Chain,
    batch: StateWriter,
    miner: KeyHash,
    transactions: Sequence[Transaction],
    at_time: int,
    *,
    extra_nonce: int | None = None,
) -> tuple[Block, list[Transaction]]:
    """Return an unmined block on the head of `batch` and the transactions that had to be left out.

    Each trial runs the ordinary consensus code on the head of `batch`; what it names as invalid is dropped.
    `at_time` is raised above the median time past if need be.
    `extra_nonce` is random unless given: simulations have their own source of chance.
    """
    tip = batch.tip()
    if tip is None:
        raise AssertionError("a chain has a genesis block")
    height = tip.height + 1
    account = batch.get_account(miner)
    subsidy = reward(height, experience(account.blocks_mined, account.anchors_carried))
    time = max(at_time, chain.median_time_after(tip.id) + 1)
    target = chain.target_after(tip.id)
    if extra_nonce is None:
        extra_nonce = secrets.randbits(64)
    chosen, left_out = list(transactions), []
    while True:
        bodies, witnesses = pack_transactions([_EMPTY, *chosen])
        coinbase = Transaction(
            Kind.COINBASE,
            chain.params.chain_id,
            nonce=height,
            amount=subsidy + sum(tx.fee for tx in chosen),
            fee=0,
            sender=ZERO20,
            recipient=miner,
            hash=witness_commitment(witnesses),
            deadline=extra_nonce,
        )
        bodies[0] = np.frombuffer(coinbase.body, np.uint64)
        txids = join_txids([coinbase, *chosen])
        root = cosmic_harmony.merkle_root(txids)
        block = Block(Header(time, height, target, tip.id, root), bodies, witnesses).with_txids(txids)
        try:
            chain.try_connect(batch, block)
        except RuleBrokenError as error:
            if not error.index:  # the coinbase or the block itself: not for dropping a transaction
                raise
            left_out.append(chosen.pop(error.index - 1))
            continue
        return block, left_out


_EMPTY = Transaction(Kind.COINBASE, 0, 0, 0, 0, ZERO20)


def with_nonce(block: Block, nonce: int) -> Block:
    """Return the block under this nonce."""
    return Block(replace(block.header, nonce=nonce), block.bodies, block.witnesses)


def solve(block: Block, start: int | None = None) -> Block:
    """Find a nonce on the calling thread: for the dev network's near-zero difficulty and tests."""
    target = compact_to_target(block.header.target)
    nonce = secrets.randbits(64) if start is None else start
    while True:
        found = cosmic_harmony.scan(block.header.raw, nonce, _SCAN_STEP, target)
        if found.nonce is not None:
            return with_nonce(block, found.nonce)
        nonce = (nonce + found.hashes_done) % 2**64
