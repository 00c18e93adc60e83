"""A chain under a test's control: its own clock, three funded users, blocks forged at will."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chain.consensus.chain import Chain, ChainChange
from chain.mempool.pool import Mempool
from chain.mining.template import assemble, solve
from chain.rules.accounts import Account
from chain.rules.block import Block, pack_transactions, witness_commitment
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.hashing import sha256
from chain.rules.header import Header
from chain.rules.locks import Lock
from chain.rules.params import COIN, DEV, MAX_AMOUNT
from chain.rules.records import ZERO20, Kind, Transaction
from chain.rules.rewards import experience, reward
from chain.rules.types import BlockId, LockId
from chain.service.queries import Queries
from chain.wallet.keys import Key, dev_treasury_key
from chain.wallet.transactions import (
    build_claim,
    build_cooperative_refund,
    build_lock,
    build_refund,
    build_transfer,
)
from kernels import cosmic_harmony

FEE = 1_000
TREASURY = dev_treasury_key()
ALICE, BOB, CAROL, MINER = (Key.from_secret(sha256(name)) for name in (b"alice", b"bob", b"carol", b"miner"))


class Sandbox:
    """A dev chain in a directory. `now` is the clock."""

    def __init__(self, directory: Path, *, params: Any = DEV) -> None:
        self.now = params.genesis_time
        self.chain = Chain(params, directory, clock=lambda: self.now, sync=False)
        self.params = params
        self.mempool = Mempool(self.chain)
        self.queries = Queries(self.chain, self.mempool)

    def close(self) -> None:
        self.chain.close()

    # reading ------------------------------------------------------------------------------------------

    def account(self, key: Key) -> Account:
        with self.chain.store.view() as view:
            return view.get_account(key.key_hash)

    def balance(self, key: Key) -> int:
        return self.account(key).balance

    def nonce(self, key: Key) -> int:
        return self.account(key).nonce

    def lock(self, lock_id: LockId) -> Lock:
        with self.chain.store.view() as view:
            found = view.get_lock(lock_id)
        assert found is not None
        return found

    def digest(self) -> bytes:
        with self.chain.store.view() as view:
            return view.state_digest()

    def supply_adds_up(self) -> bool:
        """All coins: balances and open locks are what genesis and subsidies issued."""
        with self.chain.store.view() as view:
            balances = sum(account.balance for _, account in view.accounts())
            locked = sum(lock.amount for _, lock in view.locks() if lock.state == "OPEN")
            tip = view.tip()
        assert tip is not None
        return balances + locked == tip.issued and locked == tip.locked

    # mining -------------------------------------------------------------------------------------------

    def mine(self, *transactions: Transaction, miner: Key = MINER, seconds: int = 1) -> ChainChange:
        """Mine these transactions in an honest block, one second later; all must fit."""
        self.now += seconds
        with self.chain.store.scratch() as batch:
            block, left_out = assemble(self.chain, batch, miner.key_hash, transactions, self.now)
        assert not left_out, left_out
        return self.accept(solve(block))

    def mine_pool(self) -> ChainChange:
        """Mine what the mempool offers."""
        return self.mine(*self.mempool.best())

    def accept(self, block: Block) -> ChainChange:
        change = self.chain.accept_block(block)
        self.mempool.update(change)
        return change

    def pass_median_time(self, time: int) -> None:
        """Mine empty blocks until the median time past is exactly `time`."""
        assert self.chain.median_time <= time
        self.now = max(self.now, time - 12)
        while self.chain.median_time < time:
            self.mine()
        assert self.chain.median_time == time

    def forge(
        self,
        *transactions: Transaction,
        parent: BlockId | None = None,
        amount: int | None = None,
        coinbase: Callable[[Transaction], Transaction] = lambda tx: tx,
        bodies: Callable[[np.ndarray], np.ndarray | None] = lambda _: None,
        witnesses: Callable[[np.ndarray], np.ndarray | None] = lambda _: None,
        commitment: bytes | None = None,
        root: bytes | None = None,
        mined: bool = True,
        extra_nonce: int = 0,
        **header: Any,
    ) -> Block:
        """Make a block that may break rules: everything honest but what is asked for."""
        above = self.chain.header(parent or self.chain.tip.id)
        assert above is not None
        height = above.header.height + 1
        miner = self.account(MINER)
        if amount is None:
            points = experience(miner.blocks_mined, miner.anchors_carried)
            amount = reward(height, points) + sum(tx.fee for tx in transactions if tx.fee <= MAX_AMOUNT)
        paid = coinbase(
            Transaction(
                Kind.COINBASE, self.params.chain_id, height, amount % 2**64, 0, ZERO20, MINER.key_hash,
                deadline=extra_nonce,
            )
        )  # fmt: skip
        all_bodies, all_witnesses = pack_transactions([paid, *transactions])
        changed = witnesses(all_witnesses)
        all_witnesses = all_witnesses if changed is None else changed
        promised = commitment or witness_commitment(all_witnesses)
        all_bodies[0, 9:13] = np.frombuffer(promised, np.uint64)
        changed = bodies(all_bodies)
        all_bodies = np.ascontiguousarray(all_bodies if changed is None else changed)
        txids = cosmic_harmony.keccak256_batch_128(all_bodies)
        fields = {
            "time": max(self.now, self.chain.median_time_after(above.header.id) + 1),
            "height": height,
            "target": self.chain.target_after(above.header.id),
            "previous": above.header.id,
            "merkle_root": root or cosmic_harmony.merkle_root(txids),
        }
        block = Block(Header(**{**fields, **header}), all_bodies, all_witnesses)
        return solve(block) if mined else block

    def refused(self, block: Block) -> Reason:
        """Offer a block that must be refused, leaving the state as it was; return why."""
        before, tip = self.digest(), self.chain.tip
        try:
            self.chain.accept_block(block)
        except RuleBrokenError as error:
            assert self.digest() == before
            assert self.chain.tip == tip
            return error.reason
        raise AssertionError("the block was accepted")

    # transactions -------------------------------------------------------------------------------------

    def fund(self, *keys: Key, amount: int = 1_000 * COIN) -> None:
        """Give each key an amount from the treasury."""
        nonce = self.nonce(TREASURY)
        self.mine(*(self.transfer(TREASURY, key, amount, nonce=nonce + i) for i, key in enumerate(keys)))

    def transfer(
        self, sender: Key, recipient: Key, amount: int = COIN, *, fee: int = FEE, nonce: int | None = None
    ) -> Transaction:
        return build_transfer(
            sender,
            self.params,
            nonce=self.nonce(sender) if nonce is None else nonce,
            recipient=recipient.key_hash,
            amount=amount,
            fee=fee,
        )

    def make_lock(
        self,
        sender: Key = ALICE,
        recipient: Key = BOB,
        *,
        amount: int = COIN,
        preimage: bytes = b"secret",
        hashlock: bytes | None = None,
        deadline: int | None = None,
        fee: int = FEE,
        nonce: int | None = None,
    ) -> Transaction:
        return build_lock(
            sender,
            self.params,
            nonce=self.nonce(sender) if nonce is None else nonce,
            recipient=recipient.key_hash,
            amount=amount,
            hashlock=hashlock or sha256(preimage),
            deadline=self.chain.median_time + 1_000 if deadline is None else deadline,
            fee=fee,
        )

    def claim(
        self, lock: Transaction, by: Key, preimage: bytes = b"secret", *, fee: int = FEE,
        nonce: int | None = None, **changed: Any,
    ) -> Transaction:  # fmt: skip
        terms: dict[str, Any] = {"recipient": lock.recipient, "amount": lock.amount, **changed}
        return build_claim(
            by,
            self.params,
            nonce=self.nonce(by) if nonce is None else nonce,
            lock_id=lock.lock_id,
            preimage=preimage,
            fee=fee,
            **terms,
        )

    def refund(
        self, lock: Transaction, by: Key, *, fee: int = FEE, nonce: int | None = None, **changed: Any
    ) -> Transaction:
        terms: dict[str, Any] = {"sender": lock.sender, "amount": lock.amount, **changed}
        return build_refund(
            by,
            self.params,
            nonce=self.nonce(by) if nonce is None else nonce,
            lock_id=lock.lock_id,
            fee=fee,
            **terms,
        )

    def cooperative_refund(
        self, lock: Transaction, by: Key, consent: bytes = b"", *, fee: int = FEE
    ) -> Transaction:
        return build_cooperative_refund(
            by,
            self.params,
            nonce=self.nonce(by),
            lock_id=lock.lock_id,
            sender=lock.sender,
            amount=lock.amount,
            fee=fee,
            consent=consent,
        )


def resign(key: Key, tx: Transaction, **changed: Any) -> Transaction:
    """Return the transaction with fields changed and signed again, `aux` kept."""
    body = replace(tx, **changed)
    return body.with_witness(replace(body.witness, signature=key.sign(body.txid), public_key=key.public_key))


def reason_of(act: Callable[[], object]) -> Reason:
    """Return why `act` was refused."""
    try:
        act()
    except RuleBrokenError as error:
        return error.reason
    raise AssertionError("nothing was refused")
