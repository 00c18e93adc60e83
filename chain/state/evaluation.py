"""A block against the state: the stateful half of consensus, checks first, writes after."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from chain.rules.address import key_hash
from chain.rules.block import Block, U64Array, split_rows
from chain.rules.compiled import I64Array, apply_accounts, index_accounts
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.locks import Lock, make_lock, spend_lock
from chain.rules.params import NetworkParams
from chain.rules.records import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Kind, Transaction
from chain.rules.rewards import experience, reward
from chain.rules.signatures import verify_signature
from chain.rules.types import BlockHeight, KeyHash, LockId, TxId, UnixSeconds
from chain.state.headers import HeaderRecord
from chain.state.signature_cache import SignatureCache
from chain.state.store import ACCOUNT, StateReader, StateWriter, Table, Tip

_SENDER = slice(32, 52)
_key_hash = lru_cache(maxsize=65_536)(key_hash)


class _LockOverlay:
    """Locks as the transactions before this one, in the same block or trial, left them."""

    def __init__(self, view: StateReader) -> None:
        self._view = view
        self.changed: dict[LockId, Lock] = {}

    def get_lock(self, lock_id: LockId) -> Lock | None:
        return self.changed.get(lock_id) or self._view.get_lock(lock_id)


def check_signature(transaction: Transaction, cache: SignatureCache) -> None:
    """Check one transaction's key and signature, remembering a valid one. Raises `RuleBrokenError`."""
    _check_signature(transaction.txid, transaction.sender, transaction.witness.encode(), cache, None)


def check_signatures(block: Block, cache: SignatureCache) -> None:
    """Check the signatures of a block that the cache does not hold. Raises `RuleBrokenError`."""
    txids, witnesses = block.txid_list, split_rows(block.witnesses)
    bodies = block.bodies.view(np.uint8)
    for i in cache.missing(txids[1:], witnesses[1:]):
        sender = KeyHash(bodies[i + 1, _SENDER].tobytes())
        _check_signature(txids[i + 1], sender, witnesses[i + 1], cache, i + 1)


def _check_signature(
    txid: TxId, sender: KeyHash, witness: bytes, cache: SignatureCache, index: int | None
) -> None:
    if cache.holds(txid, witness):
        return
    public_key = witness[SIGNATURE_BYTES : SIGNATURE_BYTES + PUBLIC_KEY_BYTES]
    if _key_hash(public_key) != sender:
        raise RuleBrokenError(
            Reason.WRONG_KEY,
            "the public key is not the sender's",
            hint="sign with the sender's key",
            index=index,
        )
    if not verify_signature(public_key, witness[:SIGNATURE_BYTES], txid):
        raise RuleBrokenError(
            Reason.BAD_SIGNATURE,
            "the signature does not hold",
            hint="sign keccak256(body), compact and low-s",
            index=index,
        )
    cache.add(txid, witness)


def apply_locks(
    view: StateReader, block: Block, first: int, median_time: UnixSeconds, height: BlockHeight
) -> dict[LockId, Lock]:
    """Return the locks that the transactions from `first` on make and spend. Raises `RuleBrokenError`."""
    kinds = block.bodies[:, 0] & np.uint64(0xFF)
    overlay = _LockOverlay(view)
    for index in np.flatnonzero((kinds >= Kind.HTLC_LOCK) & (kinds <= Kind.HTLC_COOPERATIVE_REFUND)):
        if index < first:
            continue
        tx = block.transaction(int(index))
        try:
            act = make_lock if tx.kind == Kind.HTLC_LOCK else spend_lock
            overlay.changed[tx.lock_id] = act(overlay, tx, median_time, height)
        except RuleBrokenError as error:
            error.index = int(index)
            raise
    return overlay.changed


@dataclass(frozen=True)
class StateChange:
    """What a valid block does to the state, all rules checked, nothing written yet.

    `addresses` and `accounts` (M, 4) are those that change, `before` what they were (zeros: absent).
    """

    tip: Tip
    addresses: list[bytes]
    accounts: U64Array
    before: U64Array
    locks: dict[LockId, Lock]
    txids: list[TxId]
    anchors: list[tuple[bytes, TxId]]


def load_accounts(view: StateReader, bodies: U64Array) -> tuple[list[bytes], I64Array, I64Array, U64Array]:
    """Return addresses, sender rows, recipient rows and accounts (M, 4), zeros for those never seen."""
    addresses, senders, recipients = index_accounts(bodies)
    keys = split_rows(addresses)
    stored = view.get_many(Table.ACCOUNTS, sorted(keys))  # in order, LMDB walks each page once
    empty = bytes(ACCOUNT.size)
    encoded = b"".join([stored.get(key, empty) for key in keys])
    return keys, senders, recipients, np.frombuffer(encoded, np.uint64).reshape(len(keys), 4)


def evaluate(
    view: StateReader,
    params: NetworkParams,
    block: Block,
    record: HeaderRecord,
    fees: int,
    median_time: UnixSeconds,
    cache: SignatureCache,
) -> StateChange:
    """Check a block, whose stateless rules hold, against the state of its parent, the head.

    `fees` is their sum, `median_time` the median time past of the parent. Raises `RuleBrokenError`.
    """
    height = BlockHeight(record.header.height)
    tip = view.tip()
    check_signatures(block, cache)
    locks = apply_locks(view, block, 1, median_time, height)
    keys, senders, recipients, before = load_accounts(view, block.bodies)
    miner = int(recipients[0])
    subsidy = (
        params.treasury
        if height == 0
        else reward(height, experience(int(before[miner, 2]), int(before[miner, 3])))
    )
    if int(block.bodies[0, 2]) != subsidy + fees:
        raise RuleBrokenError(
            Reason.BAD_COINBASE_AMOUNT,
            f"the coinbase pays {int(block.bodies[0, 2])}, reward and fees are {subsidy + fees}",
            index=0,
        )
    accounts = before.copy()
    apply_accounts(block.bodies, senders, recipients, accounts, in_block=True)
    rows = np.flatnonzero((accounts != before).any(axis=1))
    issued, locked = (tip.issued, tip.locked) if tip else (0, 0)
    txids = block.txid_list
    kinds = block.bodies[:, 0] & np.uint64(0xFF)
    return StateChange(
        tip=Tip(block.id, height, record.work, issued + subsidy, locked + _locked_change(block)),
        addresses=[keys[row] for row in rows.tolist()],
        accounts=accounts[rows],
        before=before[rows],
        locks=locks,
        txids=txids,
        anchors=[
            (block.bodies[index, 9:13].tobytes(), txids[index])
            for index in np.flatnonzero(kinds == Kind.ANCHOR)
        ],
    )


def write(batch: StateWriter, change: StateChange) -> None:
    """Write what a block changes, and its undo record."""
    batch.set_accounts(change.addresses, change.accounts, change.before)
    for lock_id, lock in change.locks.items():
        batch.set_lock(lock_id, lock)
    batch.add_transactions(change.txids, change.tip.height, change.tip.id)
    for root, txid in change.anchors:
        batch.add_anchor(root, txid)
    batch.set_tip(change.tip)
    batch.finish_block(change.tip.id)


def _locked_change(block: Block) -> int:
    kinds = block.bodies[:, 0] & np.uint64(0xFF)
    amounts = block.bodies[:, 2]
    into = amounts[kinds == Kind.HTLC_LOCK].tolist()
    spends = (kinds >= Kind.HTLC_CLAIM) & (kinds <= Kind.HTLC_COOPERATIVE_REFUND)
    return int(sum(into) - sum(amounts[spends].tolist()))
