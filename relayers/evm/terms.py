"""Between the bridge's values and the contract's: lock terms, and logs as HTLC events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from eth_abi.exceptions import DecodingError

from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import Claimed, HtlcEvent, Locked, Refunded, SetAside, Spent
from bridge.protocol.types import (
    MAX_PREIMAGE_BYTES,
    Address,
    Amount,
    Asset,
    BlockRef,
    ChainId,
    LockId,
    LockTerms,
    Preimage,
    TxId,
    UnixSeconds,
)
from relayers.evm import htlc
from relayers.evm.known_locks import KnownLocks

_SPENDS = frozenset("0x" + topic.hex() for topic in htlc.SPEND_TOPICS)

UNKNOWN_SYMBOL = "?"
"""The symbol of a token that the configuration does not name; its decimals are unknown and given as 0."""


def to_contract(terms: LockTerms) -> htlc.EvmLockTerms:
    """Return the terms as the contract has them, lane included.

    Raises `ActionRefusedError` for what no lock can have.
    """
    try:
        return htlc.EvmLockTerms(
            sender=terms.sender,
            recipient=terms.recipient,
            token=terms.asset.contract or htlc.COIN,
            amount=terms.amount,
            hashlock=terms.hashlock,
            deadline=terms.deadline,
            lane=terms.lane,
        )
    except htlc.HtlcEncodingError as error:
        raise ActionRefusedError(
            f"no lock in the HTLC contract can have these terms: {error}", "correct the terms"
        ) from error


class Place(msgspec.Struct, frozen=True):
    """Where locks lie: the instance's name, the network's own chain id, and the HTLC contract's address."""

    chain: ChainId
    chain_id: int
    contract: str


def read_event(
    log: Mapping[str, Any],
    block: BlockRef,
    place: Place,
    assets: Mapping[str, Asset],
    locks: KnownLocks | None = None,
) -> HtlcEvent | SetAside:
    """Return what a log of the contract says. `assets` by the token's address in lower case, "" for the
    native coin; `locks` are the locks that were met before, and take in a new one.

    A claim is `Claimed` unless its preimage is known not to open the lock, a refund is `Refunded` by the
    contract's own log alone. Whatever else ends a lock is `Spent`; what does not decode is set aside.
    """
    tx_id = TxId(str(log["transactionHash"]))
    try:
        match htlc.decode_log(log):
            case htlc.Claimed(lock_id, preimage):
                opening = Preimage(preimage) if len(preimage) <= MAX_PREIMAGE_BYTES else None
                if opening is None or (locks and locks.contradicts(_hex(lock_id), opening)):
                    return Spent(block, tx_id, _hex(lock_id), "claimed with what does not open the lock")
                return Claimed(block, tx_id, _hex(lock_id), opening)
            case htlc.Refunded(lock_id):
                return Refunded(block, tx_id, _hex(lock_id))
            case htlc.Locked(terms):
                made = _hex(htlc.lock_id(place.chain_id, place.contract, terms))
                if locks:
                    locks.add(made, terms.hashlock)
                return Locked(block, tx_id, made, _from_contract(terms, place, assets))
    except (htlc.HtlcEncodingError, DecodingError, ValueError):
        pass
    topics = log["topics"]
    if len(topics) > 1 and topics[0] in _SPENDS:
        return Spent(block, tx_id, LockId(str(topics[1])), "a claim or refund that does not decode")
    return SetAside(block, tx_id, "a log of the HTLC contract that does not decode")


def _from_contract(terms: htlc.EvmLockTerms, place: Place, assets: Mapping[str, Asset]) -> LockTerms:
    token = "" if terms.is_coin else terms.token
    asset = assets.get(token.lower()) or Asset(place.chain, UNKNOWN_SYMBOL, 0, token)
    return LockTerms(
        chain=place.chain,
        contract=Address(place.contract),
        sender=Address(terms.sender),
        recipient=Address(terms.recipient),
        asset=asset,
        amount=Amount(terms.amount),
        hashlock=terms.hashlock,
        deadline=UnixSeconds(terms.deadline),
        lane=terms.lane,
    )


def _hex(value: bytes) -> LockId:
    return LockId("0x" + value.hex())
