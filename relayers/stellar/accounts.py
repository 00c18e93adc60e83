"""Accounts, trustlines and entries of contracts, read by key; what an account may spend or receive."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
from stellar_sdk import Keypair, xdr

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.json_rpc import Calls
from bridge.chains.errors import CannotReceiveError
from bridge.protocol.types import Asset
from relayers.stellar.assets import decimal, is_issued, is_token, to_stellar
from relayers.stellar.rpc import ask

MIN_NEW_ACCOUNT = 10_000_000
"""The least number of stroops whose payment by the native asset contract creates an account: two base
reserves (CAP-73, and CAP-33 for the reserves of an account)."""

MEMO_REQUIRED = "config.memo_required"
"""SEP-29: an account with this data entry wants a memo with each payment, which a contract cannot give."""


class Entry(msgspec.Struct, frozen=True):
    """A ledger entry. `modified` is the ledger that it was last written in, `live_until` the last ledger that
    a contract's entry lives in (None: for others)."""

    data: xdr.LedgerEntryData
    modified: int
    live_until: int | None = None


class Entries(msgspec.Struct, frozen=True):
    """What stands at some keys, in their order (None: nothing, or it is archived), as of `ledger`."""

    found: tuple[Entry | None, ...]
    ledger: int


async def read_entries(rpc: Calls, keys: Sequence[xdr.LedgerKey]) -> Entries:
    """Return what stands at these keys. Raises `EndpointError`."""
    texts = [key.to_xdr() for key in keys]
    answer = await ask(rpc, "getLedgerEntries", keys=texts)
    by_key: dict[str, Entry] = {}
    for each in answer.get("entries") or ():
        by_key[str(each["key"])] = _entry(each)
    if not by_key.keys() <= set(texts):
        raise EndpointError(
            "the RPC gave entries that nobody asked for", "use another endpoint", kind=Answer.WRONG
        )
    return Entries(tuple(by_key.get(text) for text in texts), int(answer["latestLedger"]))


def _entry(record: dict[str, Any]) -> Entry:
    until = record.get("liveUntilLedgerSeq")
    return Entry(
        xdr.LedgerEntryData.from_xdr_bytes(base64.b64decode(record["xdr"])),
        int(record["lastModifiedLedgerSeq"]),
        int(until) if until else None,
    )


def account_key(address: str) -> xdr.LedgerKey:
    """Return where an account stands."""
    key = xdr.LedgerKeyAccount(Keypair.from_public_key(address).xdr_account_id())
    return xdr.LedgerKey(xdr.LedgerEntryType.ACCOUNT, account=key)


def line_key(address: str, asset: Asset) -> xdr.LedgerKey:
    """Return where an account's trustline to an issued asset stands."""
    line = xdr.LedgerKeyTrustLine(
        Keypair.from_public_key(address).xdr_account_id(), to_stellar(asset).to_trust_line_asset_xdr_object()
    )
    return xdr.LedgerKey(xdr.LedgerEntryType.TRUSTLINE, trust_line=line)


def memo_key(address: str) -> xdr.LedgerKey:
    """Return where an account says that it wants memos."""
    name = xdr.String64(MEMO_REQUIRED.encode())
    data = xdr.LedgerKeyData(Keypair.from_public_key(address).xdr_account_id(), name)
    return xdr.LedgerKey(xdr.LedgerEntryType.DATA, data=data)


class Holder(msgspec.Struct, frozen=True):
    """An account, its trustline to one asset and its wish for memos; None for what is not there."""

    address: str
    account: xdr.AccountEntry | None
    line: xdr.TrustLineEntry | None = None
    wants_memo: bool = False
    modified: int = 0
    """The ledger that the account was last written in, 0 if there is none."""
    ledger: int = 0

    @property
    def sequence(self) -> int | None:
        """The account's sequence, None without an account."""
        return None if self.account is None else int(self.account.seq_num.sequence_number.int64)


async def read_holder(rpc: Calls, address: str, asset: Asset | None = None) -> Holder:
    """Return an account and, for an issued `asset`, its trustline. Raises `EndpointError`."""
    issued = asset is not None and is_issued(asset) and to_stellar(asset).issuer != address
    keys = [account_key(address), memo_key(address)]
    if asset is not None and issued:
        keys.append(line_key(address, asset))
    entries = await read_entries(rpc, keys)
    account, memo, *lines = entries.found
    line = lines[0] if lines else None
    return Holder(
        address,
        account.data.account if account is not None else None,
        line.data.trust_line if line is not None else None,
        memo is not None and memo.data.data is not None and memo.data.data.data_value.data_value == b"1",
        account.modified if account is not None else 0,
        entries.ledger,
    )


async def read_issuer(rpc: Calls, asset: Asset) -> xdr.AccountEntry | None:
    """Return the account of an issued asset's issuer."""
    return (await read_holder(rpc, to_stellar(asset).issuer or "")).account


def spendable(account: xdr.AccountEntry, base_reserve: int) -> int:
    """Return the XLM that an account may spend, in stroops, beyond reserve and liabilities."""
    units = 2 + account.num_sub_entries.uint32
    selling = 0
    first = account.ext.v1
    if first is not None:
        selling = first.liabilities.selling.int64
        second = first.ext.v2
        if second is not None:
            units += second.num_sponsoring.uint32 - second.num_sponsored.uint32
    return int(account.balance.int64) - selling - units * base_reserve


def line_holds(line: xdr.TrustLineEntry) -> int:
    """Return what a trustline's holder may pay with, in stroops; nothing while it is not authorised."""
    selling = line.ext.v1.liabilities.selling.int64 if line.ext.v1 is not None else 0
    authorized = line.flags.uint32 & xdr.TrustLineFlags.AUTHORIZED_FLAG.value
    return max(0, int(line.balance.int64) - selling) if authorized else 0


def require_receiver(holder: Holder, asset: Asset, amount: int) -> None:
    """Raise `CannotReceiveError` unless the account could be paid `amount` stroops by our contract now."""
    address, account, line = holder.address, holder.account, holder.line
    if holder.wants_memo:
        raise CannotReceiveError(
            f"the recipient {address} wants a memo with each payment (SEP-29), and a contract gives none",
            "give an account of your own, not an exchange's deposit address",
        )
    if is_token(asset):
        return
    if not asset.contract:
        if account is None and amount < MIN_NEW_ACCOUNT:
            raise CannotReceiveError(
                f"the recipient {address} does not exist, and so little XLM cannot create it",
                f"swap at least {decimal(MIN_NEW_ACCOUNT)} XLM, or fund the account first",
            )
        return
    if address == to_stellar(asset).issuer:
        return
    what = f"the recipient {address} cannot receive {asset.symbol}"
    open_line = f"open a trustline to {asset.contract} with room for the amount"
    if account is None:
        raise CannotReceiveError(f"{what}: there is no such account", f"send it a few XLM and {open_line}")
    if line is None:
        raise CannotReceiveError(f"{what}: it has no trustline", f"first {open_line}")
    if not line.flags.uint32 & xdr.TrustLineFlags.AUTHORIZED_FLAG.value:
        raise CannotReceiveError(f"{what}: its trustline is not authorised", "ask the issuer to authorise it")
    buying = line.ext.v1.liabilities.buying.int64 if line.ext.v1 is not None else 0
    room = int(line.limit.int64) - int(line.balance.int64) - buying
    if room < amount:
        raise CannotReceiveError(
            f"{what}: its trustline has room for {decimal(max(0, room))} only", "raise its limit"
        )
