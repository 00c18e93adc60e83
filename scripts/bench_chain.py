"""Measure block validation: python scripts/bench_chain.py → build/bench/chain.json.

Three questions: which share of a block's validation the signature checks have when none of them is cached;
how long a block of 1,000 transactions takes whose signatures the mempool has checked; how long transaction
ids and the Merkle root of 1,000 take. One thread, best and median of several runs, seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chain.consensus.chain import Chain
from chain.mining.template import solve
from chain.rules.block import Block, pack_transactions, witness_commitment
from chain.rules.hashing import sha256
from chain.rules.header import Header
from chain.rules.params import COIN, DEV
from chain.rules.records import ZERO20, Kind, Transaction
from chain.rules.rewards import reward
from chain.rules.types import KeyHash
from chain.state.evaluation import check_signatures, evaluate, write
from chain.state.headers import HeaderRecord
from chain.state.signature_cache import SignatureCache
from chain.wallet.keys import Key, dev_treasury_key
from chain.wallet.transactions import build_transfer
from kernels import cosmic_harmony

COUNT = 1_000
RUNS = 25
OUT = Path("build/bench/chain.json")


def timed(act: Callable[[], object], runs: int = RUNS) -> dict[str, float]:
    """Return best and median seconds by the clock, and the best of processor time (for busy machines)."""
    act()
    spent, processor = [], []
    for _ in range(runs):
        began, began_processor = time.perf_counter(), time.process_time()
        act()
        spent.append(time.perf_counter() - began)
        processor.append(time.process_time() - began_processor)
    return {"best": min(spent), "median": statistics.median(spent), "best_processor": min(processor)}


def main() -> None:
    """Build a block of 1,000 transfers between 1,000 senders and 1,000 recipients and validate it."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    directory = tempfile.TemporaryDirectory()
    now = [DEV.genesis_time]
    chain = Chain(DEV, Path(directory.name), clock=lambda: now[0])
    treasury = dev_treasury_key()
    keys = [Key.from_secret(sha256(b"bench %d" % i)) for i in range(COUNT)]

    def block(*transactions: Transaction) -> Block:
        now[0] += 1
        _, witnesses = pack_transactions([transactions[0], *transactions])
        coinbase = Transaction(
            Kind.COINBASE, DEV.chain_id, chain.tip.height + 1,
            reward(1, 0) + sum(tx.fee for tx in transactions), 0, ZERO20, KeyHash(sha256(b"miner")[:20]),
            witness_commitment(witnesses),
        )  # fmt: skip
        bodies, witnesses = pack_transactions([coinbase, *transactions])
        root = cosmic_harmony.merkle_root(cosmic_harmony.keccak256_batch_128(bodies))
        header = Header(now[0], chain.tip.height + 1, DEV.pow_limit, chain.tip.id, root)
        return solve(Block(header, bodies, witnesses))

    fund = [
        build_transfer(treasury, DEV, nonce=i, recipient=key.key_hash, amount=COIN, fee=1_000)
        for i, key in enumerate(keys)
    ]
    chain.accept_block(block(*fund))
    recipients = {key.key_hash: KeyHash(sha256(key.key_hash)[:20]) for key in keys}
    spends = [
        build_transfer(key, DEV, nonce=0, recipient=recipients[key.key_hash], amount=COIN // 2, fee=1_000)
        for key in keys
    ]
    candidate = block(*spends)
    warm, record = SignatureCache(), HeaderRecord(candidate.header, 1, len(candidate))
    check_signatures(candidate, warm)

    def fresh() -> Block:
        return Block(candidate.header, candidate.bodies, candidate.witnesses)

    def validate(cache: SignatureCache) -> None:
        """All checks of a block that arrived: header, work, body, signatures, locks, balances, nonces."""
        arrived = fresh()
        chain.check_header(arrived.header)
        fees = chain.check_body(arrived)
        with chain.store.view() as view:
            evaluate(view, DEV, arrived, record, fees, chain.median_time, cache)

    def apply(cache: SignatureCache) -> None:
        """The writes that follow, without the commit."""
        with chain.store.scratch() as batch:
            write(batch, evaluate(batch, DEV, fresh(), record, fees_of, chain.median_time, cache))

    fees_of = chain.check_body(candidate)

    def txids_and_root() -> None:
        cosmic_harmony.merkle_root(cosmic_harmony.keccak256_batch_128(candidate.bodies))

    cached = timed(lambda: validate(warm))
    uncached = timed(lambda: validate(SignatureCache()), runs=7)
    signatures = timed(lambda: check_signatures(candidate, SignatureCache()), runs=7)
    applied = timed(lambda: apply(warm))
    stateless = timed(lambda: (chain.check_header(candidate.header), chain.check_body(fresh())))
    hashing = timed(txids_and_root)

    began = time.perf_counter()
    chain.signatures = warm
    chain.accept_block(candidate)
    accepted = time.perf_counter() - began

    results = {
        "transactions": COUNT,
        "distinct_accounts": 2 * COUNT + 1,
        "machine": {"cpus": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "load_average": os.getloadavg()[0],
        "validate_signatures_uncached_s": uncached,
        "signature_checks_alone_s": signatures,
        "signature_share": 1 - cached["best_processor"] / uncached["best_processor"],
        "validate_signatures_cached_s": cached,
        "evaluate_and_write_without_commit_s": applied,
        "stateless_part_s": stateless,
        "txids_and_merkle_root_s": hashing,
        "accept_with_durable_commit_s": accepted,
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    chain.close()
    directory.cleanup()


if __name__ == "__main__":
    main()
