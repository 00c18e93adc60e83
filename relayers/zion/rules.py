"""The chain's rules for our own transactions, checked on a fresh view before anything is signed. Pure."""

from __future__ import annotations

from bridge.chains.errors import ActionRefused, InsufficientFunds
from bridge.protocol.types import LockTerms, Purpose
from chain.rules.locks import LockState
from chain.service.messages import LockView

_READ_BACK = "read the lock back from chain"


def check_lock(purpose: Purpose, terms: LockTerms, lock: LockView | None, median_time: int) -> None:
    """Raise `ActionRefused` if the next block would refuse `purpose`. `lock` is what stands under its id."""
    if purpose is Purpose.LOCK:
        if lock is not None:
            raise ActionRefused("a lock with exactly these terms was made before", _READ_BACK)
        if terms.deadline <= median_time:
            raise ActionRefused("the deadline has passed", "a lock must end in the future")
        return
    if lock is None:
        raise ActionRefused(f"there is no such lock to {purpose}", "wait until it is in a block")
    if lock.state != LockState.OPEN:
        raise ActionRefused(f"the lock was {lock.state.lower()} before", _READ_BACK)
    if purpose is Purpose.REFUND and median_time < terms.deadline:
        missing = terms.deadline - median_time
        raise ActionRefused(f"the deadline is {missing} s ahead of the chain's clock", "wait for it")


def check_funds(balance: int, spent: int, earned: int, fee: int) -> None:
    """Raise `InsufficientFunds` unless `balance` covers what is spent and the fee. What a claim pays the
    account itself (`earned`) may serve for its own fee."""
    if balance < spent or balance + earned < spent + fee:
        raise InsufficientFunds(
            f"the bridge's ZION account has {balance} and needs {spent + fee} smallest units",
            "send ZION to the account",
        )
