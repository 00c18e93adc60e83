"""Balances, liabilities, reserves and who pays them (CAP-0033).

An account must keep (2 + subentries + sponsoring − sponsored) × base reserve. An entry's reserve is paid by
its account, or by a sponsor while a sponsorship is open; claimable balances are always sponsored, by
their creator if by nobody else.
"""

from __future__ import annotations

import bisect
from enum import Enum, auto

from relayers.stellar.devnet.entries import (
    ACCOUNT_SUBENTRY_LIMIT,
    INT64_MAX,
    UINT32_MAX,
    Account,
    ClaimableBalance,
    Data,
    Signer,
    SignerId,
    TrustLine,
)
from relayers.stellar.devnet.ledger import SPONSORSHIP, Header, LedgerTxn

Sponsorable = Account | TrustLine | Data | ClaimableBalance


class ReserveOutcome(Enum):
    """Whether a reserve can be paid."""

    SUCCESS = auto()
    LOW_RESERVE = auto()
    TOO_MANY_SUBENTRIES = auto()
    TOO_MANY_SPONSORING = auto()


def min_balance(header: Header, account: Account) -> int:
    """Return the stroops that an account must keep."""
    units = 2 + account.subentries + account.num_sponsoring - account.num_sponsored
    return units * header.base_reserve


def available(header: Header, account: Account) -> int:
    """Return the XLM that an account may spend, in stroops; negative when it is below its reserve."""
    return account.balance - min_balance(header, account) - account.selling_liabilities


def add_native(header: Header, account: Account, delta: int) -> bool:
    """Change an account's XLM within its limits. Return False, changing nothing, if they forbid it."""
    balance = account.balance + delta
    if delta == 0:
        return True
    if balance < 0 or balance > INT64_MAX - account.buying_liabilities:
        return False
    if delta < 0 and balance - min_balance(header, account) < account.selling_liabilities:
        return False
    account.balance = balance
    return True


def add_credit(line: TrustLine, delta: int) -> bool:
    """Change a trustline's balance within its limit and liabilities. Return False if they forbid it."""
    balance = line.balance + delta
    if delta == 0:
        return True
    if balance < line.selling_liabilities or balance > line.limit - line.buying_liabilities:
        return False
    line.balance = balance
    return True


def reserve_units(entry: Sponsorable) -> int:
    """Return how many base reserves an entry takes."""
    if isinstance(entry, Account):
        return 2
    return len(entry.claimants) if isinstance(entry, ClaimableBalance) else 1


def sponsor_of(txn: LedgerTxn, account: bytes) -> bytes | None:
    """Return who is at present sponsoring the account's future reserves."""
    sponsor: bytes | None = txn.peek((SPONSORSHIP, account))
    return sponsor


def can_sponsor(header: Header, sponsor: Account, units: int) -> ReserveOutcome:
    """Tell whether `sponsor` can take over `units` more reserves."""
    if available(header, sponsor) < units * header.base_reserve:
        return ReserveOutcome.LOW_RESERVE
    if sponsor.num_sponsoring + sponsor.subentries + units > UINT32_MAX:
        return ReserveOutcome.TOO_MANY_SPONSORING
    return ReserveOutcome.SUCCESS


def _too_many_subentries(owner: Account, units: int) -> bool:
    return (
        owner.subentries > ACCOUNT_SUBENTRY_LIMIT - units
        or owner.num_sponsoring + owner.subentries + units > UINT32_MAX
    )


def create_entry(txn: LedgerTxn, entry: Sponsorable, owner: Account) -> ReserveOutcome:
    """Charge the reserve of a new entry to its owner or to the open sponsorship, and add it to the ledger.

    For a new account, `owner` is that account itself. Nothing changes unless the outcome is SUCCESS.
    """
    header = txn.header
    units = reserve_units(entry)
    is_subentry = isinstance(entry, TrustLine | Data)
    sponsor_id = sponsor_of(txn, owner.id)
    if sponsor_id is None and isinstance(entry, ClaimableBalance):
        sponsor_id = owner.id
    if sponsor_id is None:
        if isinstance(entry, Account):
            if entry.balance < min_balance(header, entry):
                return ReserveOutcome.LOW_RESERVE
        elif _too_many_subentries(owner, units):
            return ReserveOutcome.TOO_MANY_SUBENTRIES
        elif available(header, owner) < units * header.base_reserve:
            return ReserveOutcome.LOW_RESERVE
        if is_subentry:
            owner.subentries += units
        txn.create(entry)
        return ReserveOutcome.SUCCESS
    if is_subentry and _too_many_subentries(owner, units):
        return ReserveOutcome.TOO_MANY_SUBENTRIES
    sponsor = owner if sponsor_id == owner.id else txn.existing_account(sponsor_id)
    outcome = can_sponsor(header, sponsor, units)
    if outcome is not ReserveOutcome.SUCCESS:
        return outcome
    if is_subentry:
        owner.subentries += units
    sponsor.num_sponsoring += units
    entry.sponsor = sponsor_id
    if not isinstance(entry, ClaimableBalance):
        owner.num_sponsored += units
    txn.create(entry)
    return ReserveOutcome.SUCCESS


def remove_entry(txn: LedgerTxn, entry: Sponsorable, owner: Account) -> None:
    """Release an entry's reserve and erase it. For claimable balances `owner` is the account that does it."""
    units = reserve_units(entry)
    if isinstance(entry, TrustLine | Data):
        owner.subentries -= units
    if entry.sponsor is not None:
        sponsor = owner if entry.sponsor == owner.id else txn.existing_account(entry.sponsor)
        sponsor.num_sponsoring -= units
        if not isinstance(entry, ClaimableBalance):
            owner.num_sponsored -= units
    txn.erase(entry)


def find_signer(account: Account, key: SignerId) -> Signer | None:
    """Return an account's extra signer of that key."""
    return next((signer for signer in account.signers if signer.id == key), None)


def add_signer(txn: LedgerTxn, account: Account, signer: Signer) -> ReserveOutcome:
    """Add a signer (kept in key order) and charge its reserve."""
    header = txn.header
    if _too_many_subentries(account, 1):
        return ReserveOutcome.TOO_MANY_SUBENTRIES
    sponsor_id = sponsor_of(txn, account.id)
    if sponsor_id is None:
        if available(header, account) < header.base_reserve:
            return ReserveOutcome.LOW_RESERVE
    else:
        sponsor = txn.existing_account(sponsor_id)
        outcome = can_sponsor(header, sponsor, 1)
        if outcome is not ReserveOutcome.SUCCESS:
            return outcome
        sponsor.num_sponsoring += 1
        account.num_sponsored += 1
        signer.sponsor = sponsor_id
    account.subentries += 1
    bisect.insort(account.signers, signer, key=lambda each: each.id)
    return ReserveOutcome.SUCCESS


def remove_signer(txn: LedgerTxn, account: Account, signer: Signer) -> None:
    """Remove a signer and release its reserve."""
    if signer.sponsor is not None:
        txn.existing_account(signer.sponsor).num_sponsoring -= 1
        account.num_sponsored -= 1
    account.subentries -= 1
    account.signers.remove(signer)
