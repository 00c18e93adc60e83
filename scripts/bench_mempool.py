"""Measure the mempool: python -m scripts.bench_mempool → build/bench/mempool.json.

4,095 transfers of 64 senders with 64 nonces each, signatures checked before: admissions a second, a template
of all of them, accepting the block made of them with everything cached (with and without fsync), and what the
pool does after it. One thread; processor and clock time in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from chain.consensus.chain import Chain, ChainChange
from chain.mempool.pool import Mempool
from chain.mining.template import assemble, solve
from chain.rules.block import Block
from chain.rules.hashing import sha256
from chain.rules.params import COIN, DEV
from chain.rules.records import Transaction, decode_transaction
from chain.rules.types import KeyHash
from chain.state.evaluation import check_signature
from chain.wallet.keys import Key, dev_treasury_key
from chain.wallet.transactions import build_transfer

SENDERS, NONCES = 64, 64
RUNS = 5
OUT = Path("build/bench/mempool.json")
MINER = KeyHash(sha256(b"miner")[:20])
T = TypeVar("T")


def timed(act: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """Return the result, and clock and processor milliseconds."""
    began, processor = time.perf_counter(), time.process_time()
    result = act()
    return result, {
        "ms": 1e3 * (time.perf_counter() - began),
        "processor_ms": 1e3 * (time.process_time() - processor),
    }


def best_of(act: Callable[[], object], runs: int = RUNS) -> dict[str, float]:
    """Return the times of the run with the least processor time."""
    return min((timed(act)[1] for _ in range(runs)), key=lambda spent: spent["processor_ms"])


def one_chain(directory: Path, *, sync: bool) -> dict[str, dict[str, float]]:
    """Fund the senders, fill the pool, make a template, accept it; return the times of each."""
    now = [DEV.genesis_time]
    chain = Chain(DEV, directory, clock=lambda: now[0], sync=sync)
    treasury = dev_treasury_key()
    keys = [Key.from_secret(sha256(b"bench %d" % i)) for i in range(SENDERS)]

    def template(transactions: list[Transaction]) -> Block:
        now[0] += 1
        with chain.store.scratch() as batch:
            block, left_out = assemble(chain, batch, MINER, transactions, now[0])
        if left_out:
            raise SystemExit(f"left out: {left_out}")
        return block

    def accept(block: Block) -> ChainChange:
        return chain.accept_block(block)

    accept(solve(template([
        build_transfer(treasury, DEV, nonce=i, recipient=key.key_hash, amount=100 * COIN, fee=1_000)
        for i, key in enumerate(keys)
    ])))  # fmt: skip
    spends = [
        build_transfer(key, DEV, nonce=nonce, recipient=treasury.key_hash, amount=1, fee=1_000 + nonce)
        for nonce in range(NONCES)
        for key in keys
    ][: SENDERS * NONCES - 1]
    arrived = [decode_transaction(tx.raw) for tx in spends]
    for tx in spends:
        check_signature(tx, chain.signatures)
    pool = Mempool(chain)
    _, admission = timed(lambda: [pool.admit(tx) for tx in arrived])
    if pool.ready_count != len(spends):
        raise SystemExit("not all were admitted")
    again = best_of(lambda: Mempool(chain).best())
    chosen, ordering = timed(pool.best)
    making = best_of(lambda: template(pool.best()))
    mined = solve(template(chosen))
    sent = mined.encode()
    received, decoding = timed(lambda: Block.decode(sent))
    change, accepting = timed(lambda: accept(received))
    _, following = timed(lambda: pool.update(change))
    if len(pool) or not change.connected:
        raise SystemExit("the block was not taken")
    chain.close()
    return {
        "admission": admission,
        "empty_best": again,
        "order": ordering,
        "template": making,
        "decode": decoding,
        "accept_cached": accepting,
        "follow": following,
    }


def main() -> None:
    """Measure and write build/bench/mempool.json."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    results: dict[str, object] = {"transactions": SENDERS * NONCES - 1, "load_average": os.getloadavg()[0]}
    for sync in (False, True):
        runs = []
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory() as directory:
                runs.append(one_chain(Path(directory), sync=sync))
        best = {name: min((run[name] for run in runs), key=lambda spent: spent["ms"]) for name in runs[0]}
        results["fsync" if sync else "no_fsync"] = best
        per_second = 1e3 * (SENDERS * NONCES - 1) / best["admission"]["processor_ms"]
        results["admissions_per_processor_second"] = round(per_second)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
