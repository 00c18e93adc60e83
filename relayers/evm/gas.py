"""How much gas each purpose is expected to use: for estimates and for wallets, never for our own limits.

Measured on anvil (contracts/ethereum/gas-snapshot.json), rounded up, for a sender who is a stranger to what
is paid out: a claim of ether is cheaper from the recipient, a refund from the sender. In a lane a lock costs
what it does in a fresh slot the first time and 17,000 less ever after; its claim and refund cost 4,900 more,
since the slot is not cleared. A token's numbers hold for a plain ERC-20; proxies take some thousands more.
"""

from __future__ import annotations

import msgspec

from bridge.protocol.types import Asset, LockTerms, Purpose


class Gas(msgspec.Struct, frozen=True):
    """Expected gas of one lock, claim and refund, and of a claim that the recipient signed for (claimFor).

    Who signs is taken for a newcomer: ether for an account that does not exist yet costs 25,000 more, a first
    balance of a token 17,100, the first nonce of a slot 17,100.
    """

    lock: int
    claim: int
    refund: int
    authorized_claim: int


_NATIVE = Gas(lock=46_500, claim=34_000, refund=33_500, authorized_claim=100_000)
_NATIVE_LANE = Gas(lock=46_500, claim=39_000, refund=38_500, authorized_claim=105_000)
_TOKEN = Gas(lock=66_500, claim=41_500, refund=41_500, authorized_claim=99_500)
_TOKEN_LANE = Gas(lock=67_000, claim=46_000, refund=46_000, authorized_claim=104_500)
APPROVE = 46_500

_OWN_CLAIM, _OWN_TOKEN_CLAIM = 31_500, 41_500
"""Our claims of what users lock in slots of their own; the recipient of ether is the sender here."""
_NEW_ACCOUNT, _FIRST_BALANCE = 25_000, 17_100
"""More, where ether is paid to an account that does not exist yet, or a token to one that has none of it."""

CLEARED = 4_800
"""Given back at the end of a transaction for a storage slot that it clears, at most a fifth of what it used
(EIP-3529). A claim from a slot of its own clears it, one from a lane leaves a 1; estimates do not count
it."""

_PATIENCE = 4
"""Times the expected gas: proxies, allow lists and the hooks of smart wallets stay far below."""


def expected(asset: Asset, lane: int) -> Gas:
    """Return the expected gas for a lock of ether or a token, in a slot of its own (lane 0) or in a lane."""
    if asset.contract:
        return _TOKEN_LANE if lane else _TOKEN
    return _NATIVE_LANE if lane else _NATIVE


def own_claim(asset: Asset) -> int:
    """Return the expected gas of a claim that pays ourselves."""
    return _OWN_TOKEN_CLAIM if asset.contract else _OWN_CLAIM


def newcomer(asset: Asset) -> int:
    """Return how much more a claim may use that pays somebody for the first time."""
    return _FIRST_BALANCE if asset.contract else _NEW_ACCOUNT


def dearest(asset: Asset) -> Gas:
    """Return the most that each purpose is expected to use, wherever the lock lies."""
    return expected(asset, lane=1)


def ceiling(purpose: Purpose, terms: LockTerms | None, account: str) -> int | None:
    """Return the gas beyond which `account` does not send what pays somebody else, None if it pays nobody.

    A contract that is paid ether runs code of its own then, on our account.
    """
    if terms is None:
        return None
    units = expected(terms.asset, terms.lane)
    match purpose:
        case Purpose.CLAIM if terms.recipient != account:
            return _PATIENCE * units.claim
        case Purpose.COOPERATIVE_REFUND | Purpose.REFUND if terms.sender != account:
            return _PATIENCE * units.authorized_claim
    return None


PAYMENT_LIMIT = _PATIENCE * _NATIVE.claim
"""The gas that a payment to a contract may use, so that a claim of ours still pays it."""


def given_back(used: int, lane: int) -> int:
    """Return the part of `used` gas that a claim of a lock in this lane gets back."""
    return 0 if lane else min(CLEARED, used // 5)


def authorized_ceiling(terms: LockTerms) -> int:
    """Return the same for a claim that the recipient signed for; a smart wallet checks its signature by code
    of its own."""
    return _PATIENCE * expected(terms.asset, terms.lane).authorized_claim
