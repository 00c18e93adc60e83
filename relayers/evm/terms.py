"""Between the bridge's values and the contract's: lock terms, and logs as HTLC events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from eth_abi.exceptions import DecodingError

from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import Claimed, HtlcEvent, Locked, Refunded
from bridge.protocol.types import (
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
    log: Mapping[str, Any], block: BlockRef, place: Place, assets: Mapping[str, Asset]
) -> HtlcEvent | None:
    """Return a log of the contract as an event; None for one that does not decode: what a stranger can write
    must never stop the scan. `assets` by the token's address in lower case, "" for the native coin."""
    tx_id = TxId(str(log["transactionHash"]))
    try:
        match htlc.decode_log(log):
            case htlc.Claimed(lock_id, preimage):
                return Claimed(block, tx_id, _hex(lock_id), Preimage(preimage))
            case htlc.Refunded(lock_id):
                return Refunded(block, tx_id, _hex(lock_id))
            case htlc.Locked(terms):
                lock_id = htlc.lock_id(place.chain_id, place.contract, terms)
                return Locked(block, tx_id, _hex(lock_id), _from_contract(terms, place, assets))
    except (htlc.HtlcEncodingError, DecodingError, ValueError):
        return None
    return None


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
