"""The rules of a block against the state of its parent: signatures, locks, coins."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chain.rules.accounts import Account
from chain.rules.address import key_hash
from chain.rules.block import Block
from chain.rules.errors import Reason
from chain.rules.hashing import sha256
from chain.rules.header import Header
from chain.rules.locks import Lock, LockState
from chain.rules.params import NetworkParams
from chain.rules.records import (
    CONSENT_BYTES,
    PAYS_AMOUNT,
    SIGNATURE_BYTES,
    SPENDS_LOCK,
    Kind,
    consent_digest,
)
from chain.rules.rewards import experience, reward
from chain.rules.signatures import verify_signature
from chain.rules.spec.blocks import check_records
from chain.rules.spec.values import UINT64_END, SignedRecord, State, at_fault, records_of, require
from chain.rules.types import Amount, BlockHeight, KeyHash, UnixSeconds

# signatures -----------------------------------------------------------------------------------------


def key_is_the_senders(tx: SignedRecord) -> None:
    """The public key's hash is the sender."""
    require(key_hash(tx.public_key) == tx.sender, Reason.WRONG_KEY)


def sender_has_signed(tx: SignedRecord) -> None:
    """The sender's key has signed the transaction id, compact and low-s."""
    require(verify_signature(tx.public_key, tx.signature, tx.txid), Reason.BAD_SIGNATURE)


# locks ----------------------------------------------------------------------------------------------


def lock_is_new(state: State, tx: SignedRecord) -> None:
    """Exactly these terms were never locked before, spent or not."""
    require(tx.lock_id not in state.locks, Reason.LOCK_EXISTS)


def deadline_is_ahead(tx: SignedRecord, median_time: UnixSeconds) -> None:
    """A lock delayed on its way never lands late."""
    require(tx.deadline > median_time, Reason.LOCK_DEADLINE_PASSED)


def make_lock(state: State, tx: SignedRecord, median_time: UnixSeconds, height: BlockHeight) -> None:
    """Add the lock that an HTLC_LOCK makes. `median_time` is that of the parent block."""
    lock_is_new(state, tx)
    deadline_is_ahead(tx, median_time)
    state.locks[tx.lock_id] = Lock(tx.sender, tx.recipient, tx.amount, tx.hash, tx.deadline, tx.txid, height)
    state.locked = state.locked + tx.amount


def lock_is_known(state: State, tx: SignedRecord) -> None:
    """There is a lock to spend: in an earlier block, or earlier in this one."""
    require(tx.lock_id in state.locks, Reason.UNKNOWN_LOCK)


def lock_is_open(lock: Lock) -> None:
    """A lock is spent once."""
    require(lock.state is LockState.OPEN, Reason.LOCK_SPENT)


def payment_is_the_locks(lock: Lock, tx: SignedRecord) -> None:
    """The whole amount goes to the lock's recipient when claimed, else to its sender."""
    payee = lock.recipient if tx.kind == Kind.HTLC_CLAIM else lock.sender
    require(tx.amount == lock.amount and tx.recipient == payee, Reason.LOCK_TERMS_MISMATCH)


def preimage_opens_the_lock(lock: Lock, tx: SignedRecord) -> None:
    """A claim shows the preimage; there is no upper bound in time."""
    require(sha256(tx.aux) == lock.hashlock, Reason.WRONG_PREIMAGE)


def deadline_is_reached(lock: Lock, median_time: UnixSeconds) -> None:
    """A refund waits until the median time past of the parent has reached the deadline."""
    require(median_time >= lock.deadline, Reason.DEADLINE_NOT_REACHED)


def recipient_agrees(lock: Lock, tx: SignedRecord) -> None:
    """The lock's recipient sends a cooperative refund itself, or gives its signature to the one who does."""
    sends_it = tx.sender == lock.recipient and tx.aux_length == 0
    signature, public_key = tx.aux[:SIGNATURE_BYTES], tx.aux[SIGNATURE_BYTES:]
    has_signed = (
        tx.aux_length == CONSENT_BYTES
        and key_hash(public_key) == lock.recipient
        and verify_signature(public_key, signature, consent_digest(tx.lock_id))
    )
    require(sends_it or has_signed, Reason.BAD_CONSENT)


def spend_lock(state: State, tx: SignedRecord, median_time: UnixSeconds, height: BlockHeight) -> None:
    """Mark the lock that a claim or refund spends. `median_time` is that of the parent block."""
    lock_is_known(state, tx)
    lock = state.locks[tx.lock_id]
    lock_is_open(lock)
    payment_is_the_locks(lock, tx)
    if tx.kind == Kind.HTLC_CLAIM:
        preimage_opens_the_lock(lock, tx)
    elif tx.kind == Kind.HTLC_REFUND:
        deadline_is_reached(lock, median_time)
    else:
        recipient_agrees(lock, tx)
    state.locks[tx.lock_id] = msgspec.structs.replace(
        lock,
        state=LockState.CLAIMED if tx.kind == Kind.HTLC_CLAIM else LockState.REFUNDED,
        spent_by=tx.sender,
        spent_txid=tx.txid,
        spent_height=height,
        preimage=tx.aux if tx.kind == Kind.HTLC_CLAIM else None,
        cooperative=tx.kind == Kind.HTLC_COOPERATIVE_REFUND,
    )
    state.locked = state.locked - tx.amount


# coins ----------------------------------------------------------------------------------------------


def nonce_is_the_next(account: Account, tx: SignedRecord) -> None:
    """A sender's transactions follow each other without a gap, and none counts twice."""
    require(tx.nonce == account.nonce, Reason.BAD_NONCE)


def balance_covers(account: Account, cost: int) -> None:
    """Nobody spends more than they have."""
    require(account.balance >= cost, Reason.INSUFFICIENT_BALANCE)


def credit(state: State, address: KeyHash, amount: int) -> None:
    """Add to a balance."""
    account = state.account(address)
    require(account.balance + amount < UINT64_END, Reason.BALANCE_OVERFLOW)
    state.accounts[address] = msgspec.structs.replace(account, balance=account.balance + amount)


def debit(state: State, address: KeyHash, cost: int) -> None:
    """Take from a balance."""
    account = state.account(address)
    balance_covers(account, cost)
    state.accounts[address] = msgspec.structs.replace(account, balance=account.balance - cost)


def use_nonce(state: State, tx: SignedRecord) -> None:
    """Use up the sender's next nonce."""
    account = state.account(tx.sender)
    nonce_is_the_next(account, tx)
    state.accounts[tx.sender] = msgspec.structs.replace(account, nonce=account.nonce + 1)


def move_coins(state: State, tx: SignedRecord) -> None:
    """Move what a transaction moves. What a lock pays comes first, so that it can pay the fee."""
    use_nonce(state, tx)
    if tx.kind in SPENDS_LOCK:
        credit(state, tx.recipient, tx.amount)
    debit(state, tx.sender, tx.fee + (tx.amount if tx.kind in PAYS_AMOUNT else 0))
    if tx.kind == Kind.TRANSFER:
        credit(state, tx.recipient, tx.amount)


def subsidy_of(state: State, params: NetworkParams, miner: KeyHash, height: BlockHeight) -> Amount:
    """Return what the block at `height` issues: the treasury at genesis, else the miner's reward."""
    if height == 0:
        return Amount(params.treasury)
    account = state.account(miner)
    return Amount(reward(height, experience(account.blocks_mined, account.anchors_carried)))


def coinbase_pays_subsidy_and_fees(coinbase: SignedRecord, subsidy: Amount, fees: Amount) -> None:
    """Not a unit more, not a unit less."""
    with at_fault(0):
        require(coinbase.amount == subsidy + fees, Reason.BAD_COINBASE_AMOUNT)


def pay_coinbase(state: State, coinbase: SignedRecord, carries_an_anchor: bool) -> None:
    """Pay the miner, after all other transactions, and count the block to its experience."""
    with at_fault(0):
        credit(state, coinbase.recipient, coinbase.amount)
    account = state.account(coinbase.recipient)
    state.accounts[coinbase.recipient] = msgspec.structs.replace(
        account,
        blocks_mined=account.blocks_mined + 1,
        anchors_carried=account.anchors_carried + carries_an_anchor,
    )


# a block against the state --------------------------------------------------------------------------


def apply_block(
    before: State,
    header: Header,
    records: Sequence[SignedRecord],
    params: NetworkParams,
    median_time: UnixSeconds,
) -> State:
    """Return the state after a block whose header and body were checked. `before` stays as it is.

    `median_time` is the median time past of the parent. Raises `RuleBrokenError`.
    """
    state, height = before.copy(), BlockHeight(header.height)
    coinbase, others = records[0], list(enumerate(records))[1:]
    for index, tx in others:
        with at_fault(index):
            key_is_the_senders(tx)
            sender_has_signed(tx)
    for index, tx in others:
        with at_fault(index):
            if tx.kind == Kind.HTLC_LOCK:
                make_lock(state, tx, median_time, height)
            elif tx.kind in SPENDS_LOCK:
                spend_lock(state, tx, median_time, height)
    subsidy = subsidy_of(before, params, coinbase.recipient, height)
    coinbase_pays_subsidy_and_fees(coinbase, subsidy, Amount(sum(tx.fee for tx in records)))
    for index, tx in others:
        with at_fault(index):
            move_coins(state, tx)
    anchors = [(tx.hash, tx.txid) for _, tx in others if tx.kind == Kind.ANCHOR]
    pay_coinbase(state, coinbase, carries_an_anchor=bool(anchors))
    state.anchors.update(anchors)
    state.transactions.update({tx.txid: (height, index) for index, tx in enumerate(records)})
    state.issued = state.issued + subsidy
    return state


def genesis_state(genesis: Block, params: NetworkParams) -> State:
    """Return the state after the first block, which no work is asked of."""
    records = records_of(genesis)
    check_records(records, params.chain_id, 0)
    return apply_block(State(), genesis.header, records, params, UnixSeconds(0))
