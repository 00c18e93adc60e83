"""The pool's limits for one transaction and one sender, and how it says that one is broken."""

from __future__ import annotations

from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.params import MIN_FEE
from chain.rules.records import Transaction

MAX_PER_SENDER = 64


def check_fee(tx: Transaction) -> None:
    """Refuse a fee below the pool's least. Raises `RuleBrokenError`."""
    if tx.fee < MIN_FEE:
        raise RuleBrokenError(
            Reason.FEE_TOO_LOW, f"the fee {tx.fee} is below {MIN_FEE}", hint="ask estimateFee"
        )


def check_nonce(tx: Transaction, next_nonce: int) -> None:
    """Refuse a nonce that is used, or too far above the account's next. Raises `RuleBrokenError`."""
    if tx.nonce < next_nonce:
        raise RuleBrokenError(
            Reason.NONCE_TOO_LOW,
            f"the nonce {tx.nonce} is used, the account's next is {next_nonce}",
            hint="look whether this transaction, or one you replaced, is in a block already",
        )
    if tx.nonce >= next_nonce + MAX_PER_SENDER:
        raise RuleBrokenError(
            Reason.NONCE_TOO_HIGH,
            f"the nonce {tx.nonce} is too far above the account's next, {next_nonce}",
            hint="send the transactions before it first",
        )


def too_poor(balance: int) -> RuleBrokenError:
    """Return the refusal for a sender whose confirmed balance does not cover what waits."""
    return RuleBrokenError(
        Reason.INSUFFICIENT_BALANCE,
        f"the confirmed balance {balance} does not cover the sender's transactions",
        hint="wait for incoming payments to be in a block, or send less",
    )
