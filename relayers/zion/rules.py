"""The chain's rules for our own transactions, checked on a fresh view before anything is signed. Pure."""

from __future__ import annotations

from bridge.chains.errors import ActionRefusedError, InsufficientFundsError
from bridge.protocol.types import LockTerms, Purpose
from chain.rules.locks import LockState
from chain.service.messages import LockView

_READ_BACK = "read the lock back from chain"


def check_lock(purpose: Purpose, terms: LockTerms, lock: LockView | None, median_time: int) -> None:
    """Raise `ActionRefusedError` if the next block would refuse `purpose`. `lock` is what stands under its
    id."""
    if purpose is Purpose.LOCK:
        if lock is not None:
            raise ActionRefusedError("a lock with exactly these terms was made before", _READ_BACK)
        if terms.deadline <= median_time:
            raise ActionRefusedError("the deadline has passed", "a lock must end in the future")
        return
    if lock is None:
        raise ActionRefusedError(f"there is no such lock to {purpose}", "wait until it is in a block")
    if lock.state != LockState.OPEN:
        raise ActionRefusedError(f"the lock was {lock.state.lower()} before", _READ_BACK)
    if purpose is Purpose.REFUND and median_time < terms.deadline:
        missing = terms.deadline - median_time
        raise ActionRefusedError(f"the deadline is {missing} s ahead of the chain's clock", "wait for it")


def check_funds(balance: int, spent: int, earned: int, fee: int) -> None:
    """Raise `InsufficientFundsError` unless `balance` covers what is spent and the fee. What a claim pays the
    account itself (`earned`) may serve for its own fee."""
    if balance < spent or balance + earned < spent + fee:
        raise InsufficientFundsError(
            f"the bridge's ZION account has {balance} and needs {spent + fee} smallest units",
            "send ZION to the account",
        )
