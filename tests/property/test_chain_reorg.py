"""Reorganisations undo exactly: a state machine over small chains with forks.

Random blocks (transfers, locks, claims, refunds, anchors) are built on random known blocks, so the head
jumps between branches. After every step the state must be the one that a fresh chain, fed the main branch
alone, would have.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chain.mining.template import assemble, solve
from chain.rules.errors import RuleBrokenError
from chain.rules.hashing import sha256
from chain.rules.params import COIN, DEV
from chain.rules.records import Kind, Transaction
from chain.rules.types import BlockId
from chain.state.store import StateWriter
from chain.wallet.transactions import build_anchor, build_cooperative_refund
from tests.unit.chain.harness import ALICE, BOB, CAROL, FEE, MINER, Sandbox

KEYS = (ALICE, BOB, CAROL)
PREIMAGES = tuple(bytes([i]) * i for i in range(4))


class ReorgMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.box = Sandbox(self.directory / "main")
        self.box.fund(*KEYS, amount=100 * COIN)
        self.digests: dict[bytes, bytes] = {self.box.chain.tip.id: self.box.digest()}
        genesis = self.box.chain.genesis_id
        self.known: list[BlockId] = [genesis, self.box.chain.tip.id]

    @rule(data=st.data(), back=st.integers(0, 4), count=st.integers(0, 4), pause=st.integers(0, 40))
    def build(self, data: st.DataObject, back: int, count: int, pause: int) -> None:
        """Build a block with random transactions on one of the newest blocks of any branch."""
        parent = self.known[-1 - min(back, len(self.known) - 2)]
        self.box.now += 1 + pause
        with self.box.chain.scratch_at(parent) as batch:
            wanted = [self.random_transaction(data, batch) for _ in range(count)]
            miner = data.draw(st.sampled_from([MINER, ALICE]))
            block, _ = assemble(
                self.box.chain, batch, miner.key_hash, [tx for tx in wanted if tx], self.box.now
            )
        block = solve(block)
        self.box.accept(block)
        self.known.append(block.id)

    @rule(wanted=st.integers(0, 20))
    def submit(self, wanted: int) -> None:
        """Give the mempool a transfer, so that it has to follow the reorganisations."""
        sender = KEYS[wanted % len(KEYS)]
        nonce = self.box.mempool.next_nonce(sender.key_hash, self.box.nonce(sender))
        with contextlib.suppress(RuleBrokenError):
            self.box.mempool.add(self.box.transfer(sender, CAROL, (1 + wanted) * COIN, nonce=nonce))

    def random_transaction(self, data: st.DataObject, batch: StateWriter) -> Transaction | None:
        key, other = data.draw(st.sampled_from(KEYS)), data.draw(st.sampled_from(KEYS))
        nonce = batch.get_account(key.key_hash).nonce
        preimage = data.draw(st.sampled_from(PREIMAGES))
        amount = data.draw(st.integers(1, 40)) * COIN
        box = self.box
        choice = data.draw(st.sampled_from(list(Kind)[1:]))
        if choice is Kind.TRANSFER:
            return box.transfer(key, other, amount, nonce=nonce)
        if choice is Kind.ANCHOR:
            return build_anchor(key, DEV, nonce=nonce, root=sha256(preimage), tree_size=amount, fee=FEE)
        if choice is Kind.HTLC_LOCK:
            deadline = box.now + data.draw(st.integers(-5, 60))
            return box.make_lock(
                key, other, amount=amount, preimage=preimage, nonce=nonce, deadline=max(deadline, 1)
            )
        locks = [(lock_id, lock) for lock_id, lock in batch.locks() if lock.state == "OPEN"]
        if not locks:
            return None
        lock_id, lock = data.draw(st.sampled_from(locks))
        terms = Transaction(
            Kind.HTLC_LOCK, DEV.chain_id, nonce=0, amount=lock.amount, fee=0, sender=lock.sender,
            recipient=lock.recipient, hash=lock.hashlock, deadline=lock.deadline,
        )  # fmt: skip
        if choice is Kind.HTLC_CLAIM:
            known = {sha256(p): p for p in PREIMAGES}[lock.hashlock]
            return box.claim(terms, key, known, nonce=nonce)
        if choice is Kind.HTLC_REFUND:
            return box.refund(terms, key, nonce=nonce)
        recipient = next(k for k in KEYS if k.key_hash == lock.recipient)
        return build_cooperative_refund(
            recipient, DEV, nonce=batch.get_account(lock.recipient).nonce, lock_id=lock_id,
            sender=lock.sender, amount=lock.amount, fee=FEE,
        )  # fmt: skip

    @invariant()
    def the_state_is_what_the_main_branch_alone_makes(self) -> None:
        chain = self.box.chain
        tip = chain.tip.id
        digest = self.box.digest()
        assert self.digests.setdefault(tip, digest) == digest, "coming back to a head restores its state"

    @invariant()
    def coins_are_neither_made_nor_lost(self) -> None:
        assert self.box.supply_adds_up()

    @invariant()
    def the_mempool_holds_only_what_could_be_mined(self) -> None:
        best = self.box.mempool.best()
        with self.box.chain.store.scratch() as batch:
            _, left_out = assemble(self.box.chain, batch, MINER.key_hash, best, self.box.now)
        assert not left_out

    def teardown(self) -> None:
        if not hasattr(self, "box"):
            return
        chain = self.box.chain
        fresh = Sandbox(self.directory / "fresh")
        fresh.now = self.box.now
        for height in range(1, chain.tip.height + 1):
            block = chain.main_block(height)
            assert block is not None
            fresh.accept(block)
        assert fresh.digest() == self.box.digest(), "a fresh node fed the main branch has the same state"
        fresh.close()
        self.box.close()
        shutil.rmtree(self.directory)


TestReorgs = ReorgMachine.TestCase
TestReorgs.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_a_reorganisation_and_back_restores_the_state_exactly(tmp_path: Path) -> None:
    """The machine's claim in one small, readable case."""
    box = Sandbox(tmp_path / "chain")
    box.fund(*KEYS)
    fork = box.chain.tip.id
    lock = box.make_lock()
    box.mine(lock)
    box.mine(box.claim(lock, BOB))
    before, old_tip = box.digest(), box.chain.tip.id
    parent = fork
    for extra in range(3):
        block = box.forge(parent=parent, extra_nonce=extra, amount=50 * COIN)
        box.accept(block)
        parent = block.id
    assert box.chain.tip.id == parent
    assert box.digest() != before
    with box.chain.scratch_at(old_tip) as batch:
        assert batch.state_digest() == before
    box.close()
