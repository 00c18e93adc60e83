"""Limits of what we send for others: give-backs, and claims for users.

A stranger steers this work and we pay for it. That a simulation accepts a transaction proves nothing: a
contract that is paid may behave differently in the block. So each revert makes the next try wait longer, and
there is an end, by their number and by what they cost; then an operator is told. Who is paid loses nothing:
they can claim or refund themselves. What pays our own account is never limited here. Everything is read from
the stored transactions, so a restart forgets nothing. See docs/decisions/0123-limits-of-courtesies.md.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bridge.engine.tx_reasons import REVERTED
from bridge.protocol.types import Address, Amount, LegRole, LockTerms, Purpose
from bridge.store import Transaction
from bridge.store.records import ChainStatus, Intent, StoredTxState
from bridge.store.repositories.courtesies import CourtesyTx


class CourtesyLimits(msgspec.Struct, frozen=True):
    """How much is sent for others. Amounts count in the chain's present fee for one such transaction."""

    most_reverts: int = 3
    """So many transactions for one lock may revert; then it is given up."""
    first_wait_ms: int = 60_000
    """After the first revert; each further one makes the wait four times as long."""
    swap_fees: int = 20
    """What a swap may cost on one chain before its intents are given up."""
    account_fees: int = 100
    """What one account may cost in `account_window_ms`, before give-backs to it wait. Claims do not count
    unless they reverted, and never wait for it: the bridge was paid for them, and a user who handed the
    secret over relies on them."""
    account_window_ms: int = 86_400_000


class Allowed(msgspec.Struct, frozen=True, tag=True):
    """Sign it."""


class Later(msgspec.Struct, frozen=True, tag=True):
    """Not before `at_ms` (Unix milliseconds)."""

    reason: str
    at_ms: int


class Never(msgspec.Struct, frozen=True, tag=True):
    """Give it up."""

    reason: str


Verdict = Allowed | Later | Never


def paid_account(purpose: Purpose, role: LegRole, terms: LockTerms) -> Address:
    """Return the account that an action on a lock pays where that is not ours, "" where it is."""
    match purpose, role:
        case Purpose.CLAIM, (LegRole.DESTINATION | LegRole.PAYBACK):
            return terms.recipient
        case ((Purpose.REFUND | Purpose.COOPERATIVE_REFUND), LegRole.SOURCE):
            return terms.sender
    return Address("")


def help_yourself(intent: Intent, terms: LockTerms) -> str:
    """Say how who is paid can get the money without us."""
    if intent.purpose is Purpose.CLAIM:
        return f"{intent.pays} can claim the lock with its preimage (`rainbow swap claim`)"
    return f"{intent.pays} can refund the lock from {terms.deadline} on (`rainbow swap refund`)"


def verdict(
    tx: Transaction, intent: Intent, limits: CourtesyLimits, terms: LockTerms, cost: Amount | None = None
) -> Verdict:
    """Decide whether another transaction may be signed for an intent that pays somebody else.

    `cost`: the most that it can cost in native units, None before it is made.
    """
    of_swap = tx.courtesies.of_swap(intent.chain, intent.swap_id)
    # Of the lock, by whichever intent: from its deadline on another one gives it back.
    reverts = [sent for sent in of_swap if sent.lock_id == intent.lock_id and _reverted(sent)]
    if len(reverts) >= limits.most_reverts:
        return Never(f"{len(reverts)} transactions for it reverted; {help_yourself(intent, terms)}")
    if reverts:
        wait = limits.first_wait_ms * 4 ** (len(reverts) - 1)
        free_at = max(sent.signed_ms for sent in reverts) + wait
        if tx.now_ms < free_at <= tx.now_ms + wait:  # else a clock was set back: the wait is void
            return Later(f"{len(reverts)} transactions for it reverted", free_at)
    fee = _fee(tx.chains.get(intent.chain)) or cost
    if not fee:
        return Allowed()
    next_cost = cost or Amount(0)
    if not terms.asset.contract and 0 < terms.amount < next_cost:
        return Later("it would cost more than it pays", tx.now_ms + limits.first_wait_ms)
    spent = _total(of_swap) + next_cost
    if spent > limits.swap_fees * fee:
        return Never(
            f"the swap would cost {spent} for others, more than {limits.swap_fees} fees of {fee}; "
            f"{help_yourself(intent, terms)}"
        )
    if intent.purpose is Purpose.CLAIM:
        return Allowed()
    since = tx.now_ms - limits.account_window_ms
    for_account = tx.courtesies.of_account(intent.chain, intent.pays, since)
    unearned = [sent for sent in for_account if sent.purpose is not Purpose.CLAIM or _reverted(sent)]
    if _total(unearned) + next_cost > limits.account_fees * fee:
        return Later(
            f"what is sent for {intent.pays} costs too much at present; {help_yourself(intent, terms)}",
            unearned[0].signed_ms + limits.account_window_ms if unearned else tx.now_ms,
        )
    return Allowed()


def _fee(status: ChainStatus | None) -> int:
    """Return what one transaction for somebody else costs at present, in native units; 0 if unknown."""
    return max(
        (
            max(fee.refund, fee.claim, fee.gasless_claim, fee.authorized_claim)
            for fee in (status.fees.values() if status else ())
        ),
        default=0,
    )


def _reverted(sent: CourtesyTx) -> bool:
    """Tell whether a transaction was included and did nothing, final or not."""
    return sent.state is StoredTxState.FAILED or sent.reason.startswith(REVERTED)


def _total(sent: Iterable[CourtesyTx]) -> int:
    """Return what transactions can have cost. Of those with one sequence only one can land."""
    dearest: dict[tuple[int, int], int] = {}
    for each in sent:
        key = (each.id, -1) if each.sequence is None else (each.intent_id, each.sequence)
        dearest[key] = max(dearest.get(key, 0), each.max_cost)
    return sum(dearest.values())
