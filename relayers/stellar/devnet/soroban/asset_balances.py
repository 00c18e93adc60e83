"""Balances of the Stellar Asset Contract: classic entries of accounts, own entries of contracts.

After soroban-env-host 27, stellar_asset_contract/balance.rs and allowance.rs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stellar_sdk import StrKey, scval, xdr

from relayers.stellar.devnet import reserves
from relayers.stellar.devnet.entries import ACCOUNT_SUBENTRY_LIMIT, INT64_MAX, Account, AssetId, TrustLine
from relayers.stellar.devnet.soroban.auth import account_of
from relayers.stellar.devnet.soroban.errors import Code, HostError, Type, contract_error
from relayers.stellar.devnet.soroban.ledger_xdr import Durability, data_key

if TYPE_CHECKING:
    from relayers.stellar.devnet.soroban.host import Host

DAY = 17_280
BALANCE_EXTEND = 30 * DAY
BALANCE_THRESHOLD = 29 * DAY

# The built-in contract's errors (contract_error.rs)
NOT_SUPPORTED = 2
ACCOUNT_MISSING = 6
NEGATIVE_AMOUNT = 8
ALLOWANCE = 9
BALANCE = 10
DEAUTHORIZED = 11
OVERFLOW = 12
TRUSTLINE_MISSING = 13
LOW_RESERVE = 14
TOO_MANY_SUBENTRIES = 15

REQUIRED = xdr.AccountFlags.AUTH_REQUIRED_FLAG.value
REVOCABLE = xdr.AccountFlags.AUTH_REVOCABLE_FLAG.value
CLAWBACK = xdr.AccountFlags.AUTH_CLAWBACK_ENABLED_FLAG.value
LINE_AUTHORIZED = xdr.TrustLineFlags.AUTHORIZED_FLAG.value
LINE_MAINTAIN = xdr.TrustLineFlags.AUTHORIZED_TO_MAINTAIN_LIABILITIES_FLAG.value
LINE_CLAWBACK = xdr.TrustLineFlags.TRUSTLINE_CLAWBACK_ENABLED_FLAG.value
I128_MAX = 2**127 - 1

S = scval.to_symbol


@dataclass
class AssetCall:
    """The contract that is called, and its asset."""

    host: Host
    contract: str
    asset: AssetId

    def is_issuer(self, address: str) -> bool:
        """Tell whether an address is the asset's issuer."""
        return not self.asset.is_native and address == StrKey.encode_ed25519_public_key(self.asset.issuer)

    def issuer_flags(self) -> int:
        """Return the issuer's flags; 0 for XLM."""
        if self.asset.is_native:
            return 0
        issuer = self.host.storage.read_account(self.asset.issuer)
        if issuer is None:
            raise HostError(Type.SCE_STORAGE, Code.SCEC_MISSING_VALUE, "the issuer has no account")
        return issuer.flags


@dataclass
class _Held:
    """A contract's balance entry."""

    amount: int
    authorized: bool
    clawback: bool


def _is_contract(address: str) -> bool:
    return address.startswith("C")


def _balance_key(call: AssetCall, holder: str) -> xdr.LedgerKey:
    return data_key(call.contract, scval.to_vec([S("Balance"), scval.to_address(holder)]))


def _read_held(call: AssetCall, holder: str) -> _Held | None:
    call.host.budget.charge("storage")
    entry = call.host.storage.get(_balance_key(call, holder))
    if entry is None:
        return None
    assert entry.data.contract_data is not None  # noqa: S101 - of its key
    fields = scval.from_map(entry.data.contract_data.val)
    return _Held(
        scval.from_int128(fields[S("amount")]),
        scval.from_bool(fields[S("authorized")]),
        scval.from_bool(fields[S("clawback")]),
    )


def _write_held(call: AssetCall, holder: str, held: _Held) -> None:
    value = scval.to_map(
        {
            S("amount"): scval.to_int128(held.amount),
            S("authorized"): scval.to_bool(held.authorized),
            S("clawback"): scval.to_bool(held.clawback),
        }
    )
    call.host.budget.charge("storage")
    key = _balance_key(call, holder)
    call.host.put_data(key, value)
    call.host.storage.extend(key, BALANCE_THRESHOLD, BALANCE_EXTEND)


def read_balance(call: AssetCall, holder: str) -> int:
    """Return what an address holds."""
    if _is_contract(holder):
        held = _read_held(call, holder)
        if held is None:
            return 0
        call.host.storage.extend(_balance_key(call, holder), BALANCE_THRESHOLD, BALANCE_EXTEND)
        return held.amount
    if call.is_issuer(holder):
        return INT64_MAX
    if call.asset.is_native:
        account = call.host.storage.read_account(account_of(holder))
        if account is None:
            raise contract_error(ACCOUNT_MISSING, "account entry is missing")
        if reserves.available(call.host.storage.txn.header, account) < 0:
            raise HostError(Type.SCE_STORAGE, Code.SCEC_INTERNAL_ERROR, "account has balance < minimum")
        return account.balance
    return _line(call, holder).balance


def _line(call: AssetCall, holder: str) -> TrustLine:
    line = call.host.storage.read_trustline(account_of(holder), call.asset)
    if line is None:
        raise contract_error(TRUSTLINE_MISSING, "trustline entry is missing for account")
    return line


def is_authorized(call: AssetCall, holder: str) -> bool:
    """Tell whether an address may hold and spend the asset."""
    if _is_contract(holder):
        held = _read_held(call, holder)
        return held.authorized if held is not None else not call.issuer_flags() & REQUIRED
    if call.asset.is_native or call.is_issuer(holder):
        return True
    return bool(_line(call, holder).flags & LINE_AUTHORIZED)


def spend(call: AssetCall, holder: str, amount: int) -> None:
    """Take from a balance whose holder is authorised."""
    if not is_authorized(call, holder):
        raise contract_error(DEAUTHORIZED, "balance is deauthorized")
    spend_unchecked(call, holder, amount)


def spend_unchecked(call: AssetCall, holder: str, amount: int) -> None:
    """Take from a balance, also of a holder who is not authorised (clawback)."""
    if not _is_contract(holder):
        if amount > INT64_MAX:
            raise contract_error(OVERFLOW, "spent amount is too large for an i64")
        _move_classic(call, holder, -amount)
        return
    held = _read_held(call, holder)
    if held is None:
        if amount > 0:
            raise contract_error(BALANCE, "zero balance is not sufficient to spend")
        return
    if held.amount < amount:
        raise contract_error(BALANCE, "balance is not sufficient to spend")
    held.amount -= amount
    _write_held(call, holder, held)


def receive(call: AssetCall, holder: str, amount: int) -> None:
    """Add to a balance."""
    if not is_authorized(call, holder):
        raise contract_error(DEAUTHORIZED, "balance is deauthorized")
    if not _is_contract(holder):
        if amount > INT64_MAX:
            raise contract_error(OVERFLOW, "received amount is too large for an i64")
        _move_classic(call, holder, amount)
        return
    held = _read_held(call, holder)
    if held is None:
        held = _Held(0, authorized=True, clawback=bool(call.issuer_flags() & CLAWBACK))
    held.amount += amount
    if held.amount > I128_MAX:
        raise contract_error(OVERFLOW, "balance overflow in receive_balance")
    _write_held(call, holder, held)


def _move_classic(call: AssetCall, holder: str, change: int) -> None:
    if call.is_issuer(holder):
        return
    call.host.budget.charge("storage")
    owner = account_of(holder)
    if call.asset.is_native:
        _move_native(call, owner, change)
        return
    _line(call, holder)
    line = call.host.storage.write_trustline(owner, call.asset)
    assert line is not None  # noqa: S101 - just read
    balance = line.balance + change
    if not line.selling_liabilities <= balance <= line.limit - line.buying_liabilities:
        raise contract_error(BALANCE, "resulting balance is not within the allowed range")
    line.balance = balance


def _move_native(call: AssetCall, owner: bytes, change: int) -> None:
    storage, header = call.host.storage, call.host.storage.txn.header
    if storage.read_account(owner) is None:
        _create_account(call, owner, change)
        return
    account = storage.write_account(owner)
    assert account is not None  # noqa: S101 - just read
    balance = account.balance + change
    least = reserves.min_balance(header, account) + account.selling_liabilities
    if not least <= balance <= INT64_MAX - account.buying_liabilities:
        raise contract_error(BALANCE, "resulting balance is not within the allowed range")
    account.balance = balance


def _create_account(call: AssetCall, owner: bytes, amount: int) -> None:
    """Make the account that receives XLM, if it is enough for its reserve (CAP-73)."""
    header = call.host.storage.txn.header
    if amount <= 0:
        raise contract_error(ACCOUNT_MISSING, "account entry is missing")
    if amount < 2 * header.base_reserve:
        raise contract_error(LOW_RESERVE, "transfer amount is below minimum balance for new account")
    call.host.storage.create_account(Account(owner, amount, header.starting_sequence))


# Issuers


def write_authorization(call: AssetCall, holder: str, authorize: bool) -> None:
    """Let a holder use the asset, or forbid it."""
    if not authorize and not call.issuer_flags() & REVOCABLE:
        raise contract_error(NOT_SUPPORTED, "issuer does not have AUTH_REVOCABLE set")
    if _is_contract(holder):
        held = _read_held(call, holder)
        if held is None:
            held = _Held(0, authorize, clawback=bool(call.issuer_flags() & CLAWBACK))
        held.authorized = authorize
        _write_held(call, holder, held)
        return
    if call.asset.is_native or call.is_issuer(holder):
        raise contract_error(NOT_SUPPORTED, "issuer doesn't have a trustline")
    if bool(_line(call, holder).flags & LINE_AUTHORIZED) == authorize:
        return
    line = call.host.storage.write_trustline(account_of(holder), call.asset)
    assert line is not None  # noqa: S101 - just read
    on, off = (LINE_AUTHORIZED, LINE_MAINTAIN) if authorize else (LINE_MAINTAIN, LINE_AUTHORIZED)
    line.flags = line.flags & ~off | on


def check_clawbackable(call: AssetCall, holder: str) -> None:
    """End the call unless the issuer may take from this balance."""
    if _is_contract(holder):
        held = _read_held(call, holder)
        if held is None or not held.clawback:
            raise contract_error(BALANCE, "balance isn't clawbackable")
        return
    if call.asset.is_native or call.is_issuer(holder):
        raise contract_error(NOT_SUPPORTED, "cannot clawback this")
    if not _line(call, holder).flags & LINE_CLAWBACK:
        raise contract_error(BALANCE, "trustline isn't clawbackable")


def trust(call: AssetCall, holder: str) -> None:
    """Make an account's trustline, if it has none (CAP-73)."""
    if _is_contract(holder):
        return
    if call.asset.is_native or call.is_issuer(holder):
        raise contract_error(NOT_SUPPORTED, "no trustline is possible")
    storage, owner = call.host.storage, account_of(holder)
    if storage.read_trustline(owner, call.asset) is not None:
        return
    call.host.require_auth(holder, call.host.current.arguments)
    flags = call.issuer_flags()
    if storage.read_account(owner) is None:
        raise contract_error(ACCOUNT_MISSING, "account entry is missing")
    account = storage.write_account(owner)
    assert account is not None  # noqa: S101 - just read
    if account.subentries >= ACCOUNT_SUBENTRY_LIMIT:
        raise contract_error(TOO_MANY_SUBENTRIES, "too many subentries")
    header = storage.txn.header
    if reserves.available(header, account) < header.base_reserve:
        raise contract_error(LOW_RESERVE, "account has insufficient reserve for new trustline")
    account.subentries += 1
    own = (0 if flags & REQUIRED else LINE_AUTHORIZED) | (LINE_CLAWBACK if flags & CLAWBACK else 0)
    storage.create_trustline(TrustLine(owner, call.asset, 0, INT64_MAX, own))


# Allowances


def _allowance_key(call: AssetCall, giver: str, spender: str) -> xdr.LedgerKey:
    pair = scval.to_map({S("from"): scval.to_address(giver), S("spender"): scval.to_address(spender)})
    return data_key(call.contract, scval.to_vec([S("Allowance"), pair]), Durability.TEMPORARY)


def _stored_allowance(call: AssetCall, giver: str, spender: str) -> tuple[int, int] | None:
    entry = call.host.storage.get(_allowance_key(call, giver, spender))
    if entry is None:
        return None
    assert entry.data.contract_data is not None  # noqa: S101 - of its key
    fields = scval.from_map(entry.data.contract_data.val)
    return scval.from_int128(fields[S("amount")]), scval.from_uint32(fields[S("live_until_ledger")])


def read_allowance(call: AssetCall, giver: str, spender: str) -> int:
    """Return what `spender` may take from `giver`."""
    stored = _stored_allowance(call, giver, spender)
    return stored[0] if stored is not None and stored[1] >= call.host.storage.sequence else 0


def write_allowance(call: AssetCall, giver: str, spender: str, amount: int, live_until: int) -> None:
    """Let `spender` take from `giver` until a ledger."""
    storage = call.host.storage
    if live_until > storage.max_live_until or (amount > 0 and live_until < storage.sequence):
        raise contract_error(ALLOWANCE, "live_until is out of range")
    stored = _stored_allowance(call, giver, spender)
    if stored is None and amount == 0:
        return
    value = scval.to_map(
        {S("amount"): scval.to_int128(amount), S("live_until_ledger"): scval.to_uint32(live_until)}
    )
    key = _allowance_key(call, giver, spender)
    call.host.put_data(key, value)
    if amount > 0 and (stored[1] if stored is not None else 0) < live_until:
        left = live_until - storage.sequence
        storage.extend(key, left, left)


def spend_allowance(call: AssetCall, giver: str, spender: str, amount: int) -> None:
    """Use an allowance up."""
    allowed = read_allowance(call, giver, spender)
    if allowed < amount:
        raise contract_error(ALLOWANCE, "not enough allowance to spend")
    if amount > 0:
        stored = _stored_allowance(call, giver, spender)
        assert stored is not None  # noqa: S101 - it allows something
        write_allowance(call, giver, spender, allowed - amount, stored[1])
