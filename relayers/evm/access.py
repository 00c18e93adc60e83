"""Access lists (EIP-2930): which entries of a node's proposal make a transaction of ours cheaper.

By EIP-2929 the first touch of an account costs 2,600 gas and of a slot 2,100, later ones 100; an entry of
an access list pays 2,400 and 1,900 beforehand and makes the first touch a later one. So every account and
every slot that is listed and then touched saves 100; but the contract that a transaction is sent to, and its
sender, are warm anyway, and to list one of them for the sake of its slots costs 2,400. Another schedule of
prices is noticed by the gas snapshot, whose rows with and without a list then change (docs/decisions/0036).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.protocol.types import LockTerms, Purpose
from relayers.evm.rpc import Call

ADDRESS_COST = 2_400
KEY_COST = 1_900
"""EIP-2930, per address and per storage key."""

SAVED = 100
"""2,600 - 2,400 - 100 for an account, 2,100 - 1,900 - 100 for a slot (EIP-2929)."""

MAX_KEYS = 32
"""A plain token has three slots and one account, a proxy with block lists about ten. A list much longer than
that is a mistake of the endpoint's, and gas would be paid for it."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_KEY = re.compile(r"0x[0-9a-fA-F]{64}")


class Entry(msgspec.Struct, frozen=True):
    """An account and the slots of it (32 bytes each, "0x…") that are paid for beforehand."""

    address: str
    keys: tuple[str, ...] = ()

    @property
    def cost(self) -> int:
        """The gas that listing it costs."""
        return ADDRESS_COST + KEY_COST * len(self.keys)

    def to_rpc(self) -> dict[str, Any]:
        """Return it as JSON-RPC and transactions have it."""
        return {"address": self.address, "storageKeys": list(self.keys)}


def may_pay(purpose: Purpose, terms: LockTerms | None, account: str) -> bool:
    """Tell whether `account`'s transaction touches anything but itself and the contract: a token, or an
    account that ether is paid to. All else is warm, or is one slot of the contract's."""
    if terms is None:
        return False
    if terms.asset.contract:
        return True
    paid = {
        Purpose.CLAIM: terms.recipient,
        Purpose.REFUND: terms.sender,
        Purpose.COOPERATIVE_REFUND: terms.sender,
    }
    return paid.get(purpose, account) != account


def proposal_call(request: Mapping[str, Any]) -> Call:
    """Return the call whose result `worthwhile` understands."""
    return Call("eth_createAccessList", (dict(request), "latest"))


def worthwhile(result: Any, sender: str, to: str) -> tuple[Entry, ...]:
    """Return what of a node's proposal makes the transaction cheaper; nothing where the node has none to make
    (not every endpoint does) or makes one that cannot be."""
    proposed = result.get("accessList") if isinstance(result, Mapping) else None
    if not isinstance(proposed, list):
        return ()
    entries = [_entry(item) for item in proposed]
    if any(entry is None for entry in entries):
        return ()
    warm = {sender.lower(), to.lower()}
    kept = tuple(entry for entry in entries if entry is not None and _saving(entry, warm) > 0)
    return kept if sum(1 + len(entry.keys) for entry in kept) <= MAX_KEYS else ()


def _entry(item: Any) -> Entry | None:
    if not isinstance(item, Mapping):
        return None
    address, keys = item.get("address"), item.get("storageKeys", [])
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address) or not isinstance(keys, list):
        return None
    if not all(isinstance(key, str) and _KEY.fullmatch(key) for key in keys):
        return None
    return Entry(address, tuple(sorted(keys)))


def _saving(entry: Entry, warm: set[str]) -> int:
    if entry.address.lower() in warm:
        return SAVED * len(entry.keys) - ADDRESS_COST
    return SAVED * (1 + len(entry.keys))
