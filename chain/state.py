"""Connecting a block to the state and disconnecting it: the stateful half of consensus."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from chain.address import key_hash
from chain.block import Block, U64Array
from chain.errors import Reason, RuleBrokenError
from chain.keys import SignatureCache, verify_signature
from chain.locks import Lock, make_lock, spend_lock
from chain.params import NetworkParams
from chain.records import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Kind, Transaction
from chain.rewards import experience, reward
from chain.store import ACCOUNT, Batch, HeaderRecord, Table, Tip, View
from chain.validation import I64Array, apply_accounts, index_accounts

_key_hash = lru_cache(maxsize=65_536)(key_hash)


class _LockOverlay:
    """Locks as the transactions before this one, in the same block or trial, left them."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.changed: dict[bytes, Lock] = {}

    def get_lock(self, lock_id: bytes) -> Lock | None:
        return self.changed.get(lock_id) or self._view.get_lock(lock_id)


def check_signature(transaction: Transaction, cache: SignatureCache) -> None:
    """Check one transaction's key and signature, remembering a good one. Raises `RuleBrokenError`."""
    _check_signature(transaction.txid, transaction.sender, transaction.witness.encode(), cache, None)


def check_signatures(block: Block, cache: SignatureCache) -> None:
    """Check the signatures of a block that the cache does not hold. Raises `RuleBrokenError`."""
    ids, witnesses = block.txids.tobytes(), block.witnesses.tobytes()
    senders = block.bodies.view(np.uint8).reshape(len(block), 128)[:, 32:52].tobytes()
    for i in range(1, len(block)):
        txid, witness = ids[32 * i : 32 * i + 32], witnesses[200 * i : 200 * i + 200]
        if not cache.holds(txid, witness):
            _check_signature(txid, senders[20 * i : 20 * i + 20], witness, cache, i)


def _check_signature(
    txid: bytes, sender: bytes, witness: bytes, cache: SignatureCache, index: int | None
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


def apply_locks(view: View, block: Block, first: int, median_time: int, height: int) -> dict[bytes, Lock]:
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


def load_accounts(
    view: View, bodies: U64Array
) -> tuple[list[bytes], I64Array, I64Array, U64Array, dict[bytes, bytes]]:
    """Return addresses, sender rows, recipient rows, accounts (M, 4) and the stored encodings."""
    addresses, senders, recipients = index_accounts(bodies)
    joined = addresses.tobytes()
    keys = [joined[i : i + 20] for i in range(0, len(joined), 20)]
    stored = view.get_many(Table.ACCOUNTS, keys)
    empty = bytes(ACCOUNT.size)
    encoded = b"".join([stored.get(key, empty) for key in keys])
    accounts = np.frombuffer(encoded, np.uint64).reshape(len(keys), 4).copy()
    return keys, senders, recipients, accounts, stored


def connect(
    batch: Batch,
    params: NetworkParams,
    block: Block,
    record: HeaderRecord,
    fees: int,
    median_time: int,
    cache: SignatureCache,
) -> Tip:
    """Apply a block whose stateless rules hold to the head, and write its undo record.

    `fees` is their sum, `median_time` the median time past of the parent. Raises `RuleBrokenError`; the
    batch must then be thrown away.
    """
    height = record.header.height
    tip = batch.tip()
    check_signatures(block, cache)
    locks = apply_locks(batch, block, 1, median_time, height)
    keys, senders, recipients, accounts, stored = load_accounts(batch, block.bodies)
    before = accounts.copy()
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
    apply_accounts(block.bodies, senders, recipients, accounts, in_block=True)

    encoded = accounts.tobytes()
    size = ACCOUNT.size
    rows = np.flatnonzero((accounts != before).any(axis=1)).tolist()
    batch.set_accounts([(keys[row], encoded[size * row : size * row + size]) for row in rows], stored)
    locked = tip.locked if tip else 0
    for lock_id, lock in locks.items():
        batch.set_lock(lock_id, lock)
    locked += _locked_change(block)
    ids = block.txids.tobytes()
    txids = [ids[i : i + 32] for i in range(0, len(ids), 32)]
    batch.add_transactions(txids, height, block.id)
    for index in np.flatnonzero((block.bodies[:, 0] & np.uint64(0xFF)) == Kind.ANCHOR):
        batch.add_anchor(block.bodies[index, 9:13].tobytes(), txids[index])
    new_tip = Tip(block.id, height, record.work, (tip.issued if tip else 0) + subsidy, locked)
    batch.set_tip(new_tip)
    batch.finish_block(block.id)
    return new_tip


def _locked_change(block: Block) -> int:
    kinds = block.bodies[:, 0] & np.uint64(0xFF)
    amounts = block.bodies[:, 2]
    into = amounts[kinds == Kind.HTLC_LOCK].tolist()
    spends = (kinds >= Kind.HTLC_CLAIM) & (kinds <= Kind.HTLC_COOPERATIVE_REFUND)
    return int(sum(into) - sum(amounts[spends].tolist()))
