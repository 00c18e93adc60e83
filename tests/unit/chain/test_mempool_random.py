"""Random histories of the mempool: whatever happened, all that it calls ready can be mined together."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chain.mempool.pool import Mempool
from chain.mining.template import assemble
from chain.rules.errors import RuleBrokenError
from chain.rules.params import COIN
from chain.rules.records import SPENDS_LOCK, Kind, Transaction
from tests.unit.chain.harness import ALICE, BOB, CAROL, MINER, Sandbox


class History:
    """One random history; `step` does something and checks the pool."""

    def __init__(self, box: Sandbox, seed: int) -> None:
        self.box, self.random = box, random.Random(seed)
        self.now = 0.0
        box.mempool = Mempool(box.chain, capacity=12, queue_capacity=6, clock=lambda: self.now)
        self.locks: list[Transaction] = []
        self.extra = 0

    def offer(self) -> Transaction:
        box, choose = self.box, self.random
        key = choose.choice([ALICE, BOB, CAROL])
        nonce = box.nonce(key) + choose.choice([0, 0, 0, 1, 1, 2, 3])
        fee = choose.choice([1_000, 1_500, 3_000, 50_000, 100 * COIN])
        kind = choose.randrange(6)
        if kind == 0 or not self.locks:
            lock = box.make_lock(
                key, choose.choice([ALICE, BOB, CAROL]), amount=choose.randint(1, 300) * COIN, fee=fee,
                nonce=nonce, deadline=box.chain.median_time + choose.randint(1, 30),
            )  # fmt: skip
            self.locks.append(lock)
            return lock
        lock = choose.choice(self.locks[-6:])
        if kind in (1, 2):
            return box.claim(lock, key, fee=fee, nonce=nonce)
        if kind == 3:
            return box.refund(lock, key, fee=fee, nonce=nonce)
        amount = choose.randint(1, 700) * COIN
        return box.transfer(key, choose.choice([ALICE, BOB]), amount, fee=fee, nonce=nonce)

    def step(self) -> None:
        box, action = self.box, self.random.randrange(20)
        if action < 14:
            box.mempool.admit(self.offer())
        elif action == 14:
            box.mine_pool()
        elif action == 15:
            box.mine(*box.mempool.best(self.random.randint(0, 3)))
        elif action == 16:
            self.mine_foreign()
        elif action == 17:
            self.now += self.random.choice([60.0, 3_600.0 * 2, 3_600.0 * 40])
        elif action == 18 and box.chain.tip.height > 4:
            self.reorganise()
        elif waiting := [tx.txid for tx in box.mempool]:
            box.mempool.remove(self.random.choice(waiting))
        self.check()

    def mine_foreign(self) -> None:
        tx = self.offer()
        self.box.now += 1
        with self.box.chain.store.scratch() as batch:
            _, left_out = assemble(self.box.chain, batch, MINER.key_hash, [tx], self.box.now)
        if not left_out:
            self.box.mine(tx)

    def reorganise(self) -> None:
        box = self.box
        depth = self.random.randint(1, 3)
        parent = box.chain.ids_between(box.chain.tip.height - depth, box.chain.tip.height)[0]
        for _ in range(depth + 1):
            self.extra += 1
            box.now += 1
            block = box.forge(parent=parent, extra_nonce=self.extra, amount=50 * COIN)
            try:
                box.accept(block)
            except RuleBrokenError:  # the miner's level changed what the coinbase may pay
                return
            parent = block.id

    def check(self) -> None:
        box, pool = self.box, self.box.mempool
        best = pool.best()
        with box.chain.store.scratch() as batch:
            _, left_out = assemble(box.chain, batch, MINER.key_hash, best, box.now + 1)
        assert left_out == []
        ready, gapped = pool._ready, pool._gapped
        assert len(best) == len(ready) <= 12
        assert len(gapped) <= 6
        for sender, run in ready.runs.items():
            assert run.entries
            assert run.account.nonce == next(tx for tx in best if tx.sender == sender).nonce
            balance = run.account.balance + sum(entry.effect for entry in run.entries)
            assert balance == run.balance >= 0
            ranks = [entry.rank for entry in run.entries]
            assert ranks == [min(entry.tx.fee for entry in run.entries[: i + 1]) for i in range(len(ranks))]
            assert gapped.at(sender, run.next_nonce) is None, "a gap that is closed was not noticed"
        assert set(ready.spends) == {tx.lock_id for tx in best if tx.kind in SPENDS_LOCK}
        assert set(ready.makes) == {tx.lock_id for tx in best if tx.kind == Kind.HTLC_LOCK}
        assert not set(ready.by_txid) & set(gapped.by_txid)
        for waiting in pool._standby:
            assert waiting.tx.lock_id in ready.spends, "a spend stands by for a lock that nothing spends"
        weakest = ready.weakest_end()
        ends = [run.entries[-1].rank for run in ready.runs.values()]
        assert (weakest.rank if weakest else None) == (min(ends) if ends else None)


@pytest.mark.parametrize("seed", range(6))
def test_all_that_is_ready_can_be_mined_together(tmp_path: Path, seed: int) -> None:
    box = Sandbox(tmp_path / "chain")
    box.fund(ALICE, BOB, CAROL)
    history = History(box, seed)
    for _ in range(150):
        history.step()
    box.close()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 140))
def test_long_histories(tmp_path: Path, seed: int) -> None:
    box = Sandbox(tmp_path / "chain")
    box.fund(ALICE, BOB, CAROL)
    history = History(box, seed)
    for _ in range(1_000):
        history.step()
    box.close()
