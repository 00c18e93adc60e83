"""Sponsorship: begin, end, revoke (CAP-0033)."""

from __future__ import annotations

from stellar_sdk import xdr

from relayers.stellar.devnet import reserves
from relayers.stellar.devnet.entries import (
    Account,
    ClaimableBalance,
    account_key,
    asset_id,
    signer_id,
)
from relayers.stellar.devnet.ledger import SPONSORING, SPONSORSHIP, LedgerTxn
from relayers.stellar.devnet.ops.accounts import is_plain_text
from relayers.stellar.devnet.ops.base import RULES, Context, Rules, charge
from relayers.stellar.devnet.reserves import Sponsorable
from relayers.stellar.devnet.results import OperationFailedError

STEM = "REVOKE_SPONSORSHIP"


def _check_begin(body: xdr.BeginSponsoringFutureReservesOp, context: Context) -> None:
    if account_key(body.sponsored_id) == context.source:
        raise OperationFailedError("BEGIN_SPONSORING_FUTURE_RESERVES_MALFORMED")


def _begin(txn: LedgerTxn, body: xdr.BeginSponsoringFutureReservesOp, context: Context) -> None:
    sponsored = account_key(body.sponsored_id)
    if txn.peek((SPONSORSHIP, sponsored)) is not None:
        raise OperationFailedError("BEGIN_SPONSORING_FUTURE_RESERVES_ALREADY_SPONSORED")
    # No chains: a sponsor is not sponsored at the same time, and a sponsored account sponsors nobody.
    if txn.peek((SPONSORSHIP, context.source)) is not None or txn.peek((SPONSORING, sponsored)):
        raise OperationFailedError("BEGIN_SPONSORING_FUTURE_RESERVES_RECURSIVE")
    txn.mark((SPONSORSHIP, sponsored), context.source)
    txn.mark((SPONSORING, context.source), (txn.peek((SPONSORING, context.source)) or 0) + 1)


def _end(txn: LedgerTxn, _body: None, context: Context) -> None:
    sponsor = txn.peek((SPONSORSHIP, context.source))
    if sponsor is None:
        raise OperationFailedError("END_SPONSORING_FUTURE_RESERVES_NOT_SPONSORED")
    txn.mark((SPONSORING, sponsor), txn.peek((SPONSORING, sponsor)) - 1 or None)
    txn.mark((SPONSORSHIP, context.source), None)


def _check_revoke(body: xdr.RevokeSponsorshipOp, _context: Context) -> None:
    key = body.ledger_key
    if key is None:
        return
    if key.trust_line is not None:
        asset = asset_id(key.trust_line.asset)
        is_issuer = asset.issuer == account_key(key.trust_line.account_id)
        if asset.is_native or not asset.is_valid() or is_issuer:
            raise OperationFailedError(f"{STEM}_MALFORMED")
    if key.data is not None:
        name = key.data.data_name.string64
        if not name or not is_plain_text(name):
            raise OperationFailedError(f"{STEM}_MALFORMED")
    if key.offer is not None and key.offer.offer_id.int64 <= 0:
        raise OperationFailedError(f"{STEM}_MALFORMED")
    if key.type is xdr.LedgerEntryType.LIQUIDITY_POOL:
        raise OperationFailedError(f"{STEM}_MALFORMED")


def _revoke(txn: LedgerTxn, body: xdr.RevokeSponsorshipOp, context: Context) -> None:
    if body.signer is not None:
        _revoke_signer(txn, body.signer, context)
        return
    assert body.ledger_key is not None  # noqa: S101 - one of the two
    entry = _entry(txn, body.ledger_key)
    if entry is None:
        raise OperationFailedError(f"{STEM}_DOES_NOT_EXIST")
    owner = _owner(entry)
    _require_payer(entry.sponsor, owner, context)
    new_sponsor = _new_sponsor(txn, owner, context)
    if isinstance(entry, ClaimableBalance) and new_sponsor is None:
        raise OperationFailedError(f"{STEM}_ONLY_TRANSFERABLE")
    units = reserves.reserve_units(entry)
    sponsored = None if isinstance(entry, ClaimableBalance) else txn.existing_account(owner)
    _move_reserve(txn, entry.sponsor, new_sponsor, sponsored, units)
    entry.sponsor = new_sponsor


def _revoke_signer(txn: LedgerTxn, target: xdr.RevokeSponsorshipOpSigner, context: Context) -> None:
    account = txn.account(account_key(target.account_id))
    signer = reserves.find_signer(account, signer_id(target.signer_key)) if account is not None else None
    if account is None or signer is None:
        raise OperationFailedError(f"{STEM}_DOES_NOT_EXIST")
    _require_payer(signer.sponsor, account.id, context)
    new_sponsor = _new_sponsor(txn, account.id, context)
    _move_reserve(txn, signer.sponsor, new_sponsor, account, 1)
    signer.sponsor = new_sponsor


def _require_payer(sponsor: bytes | None, owner: bytes, context: Context) -> None:
    if (sponsor or owner) != context.source:
        raise OperationFailedError(f"{STEM}_NOT_SPONSOR")


def _new_sponsor(txn: LedgerTxn, owner: bytes, context: Context) -> bytes | None:
    sponsor = reserves.sponsor_of(txn, context.source)
    return None if sponsor == owner else sponsor


def _move_reserve(
    txn: LedgerTxn, old: bytes | None, new: bytes | None, sponsored: Account | None, units: int
) -> None:
    """Move a reserve to another payer. `sponsored` owns the entry (None for claimable balances)."""
    if new is not None:
        payer = txn.existing_account(new)
        charge(reserves.can_sponsor(txn.header, payer, units), f"{STEM}_LOW_RESERVE")
        payer.num_sponsoring += units
    elif old is not None and sponsored is not None:
        if reserves.available(txn.header, sponsored) < units * txn.header.base_reserve:
            raise OperationFailedError(f"{STEM}_LOW_RESERVE")
        sponsored.num_sponsored -= units
    if old is not None:
        txn.existing_account(old).num_sponsoring -= units
    elif new is not None and sponsored is not None:
        sponsored.num_sponsored += units


def _entry(txn: LedgerTxn, key: xdr.LedgerKey) -> Sponsorable | None:
    if key.account is not None:
        return txn.account(account_key(key.account.account_id))
    if key.trust_line is not None:
        return txn.trustline(account_key(key.trust_line.account_id), asset_id(key.trust_line.asset))
    if key.data is not None:
        return txn.data(account_key(key.data.account_id), key.data.data_name.string64)
    if key.claimable_balance is not None and key.claimable_balance.balance_id.v0 is not None:
        return txn.balance(key.claimable_balance.balance_id.v0.hash)
    return None  # there are no offers here


def _owner(entry: Sponsorable) -> bytes:
    if isinstance(entry, Account):
        return entry.id
    if isinstance(entry, ClaimableBalance):
        assert entry.sponsor is not None  # noqa: S101 - claimable balances always have one
        return entry.sponsor
    return entry.account


RULES[xdr.OperationType.BEGIN_SPONSORING_FUTURE_RESERVES] = Rules(_begin, _check_begin)
RULES[xdr.OperationType.END_SPONSORING_FUTURE_RESERVES] = Rules(_end)
RULES[xdr.OperationType.REVOKE_SPONSORSHIP] = Rules(_revoke, _check_revoke)
