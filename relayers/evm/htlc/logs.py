"""Logs of the HTLC contract: what they say of locks, claims and refunds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from eth_abi.abi import decode
from eth_hash.auto import keccak

from relayers.evm.htlc.locks import COIN, MAX_DEADLINE, EvmLockTerms


class Locked(msgspec.Struct, frozen=True):
    """A lock was made; `terms` is all of it, its id is `lock_id(chain_id, contract, terms)`."""

    terms: EvmLockTerms


class Claimed(msgspec.Struct, frozen=True):
    """A lock was paid to its recipient by showing `preimage` (0–64 bytes; public from here on)."""

    lock_id: bytes
    preimage: bytes


class Refunded(msgspec.Struct, frozen=True):
    """A lock was paid back to its sender, at its deadline or by agreement."""

    lock_id: bytes


HtlcLog = Locked | Claimed | Refunded


TOPIC_LOCKED_COIN = keccak(b"Locked(bytes32,uint256,bytes32)")
TOPIC_LOCKED_TOKEN = keccak(b"LockedERC20(bytes32,uint256,address,address,uint256)")
TOPIC_CLAIMED = keccak(b"Claimed(bytes32,bytes32)")
TOPIC_CLAIMED_BYTES = keccak(b"ClaimedBytes(bytes32,bytes)")
TOPIC_REFUNDED = keccak(b"Refunded(bytes32)")

#: For eth_getLogs: `topics=[list(TOPICS)]`. Topic 1 is the hashlock of a Locked log, else the lock id.
LOCK_TOPICS = (TOPIC_LOCKED_COIN, TOPIC_LOCKED_TOKEN)
SPEND_TOPICS = (TOPIC_CLAIMED, TOPIC_CLAIMED_BYTES, TOPIC_REFUNDED)
TOPICS = (*LOCK_TOPICS, *SPEND_TOPICS)

_DATA_BYTES = {TOPIC_LOCKED_COIN: 64, TOPIC_LOCKED_TOKEN: 128, TOPIC_CLAIMED: 32, TOPIC_REFUNDED: 0}


def decode_log(log: Mapping[str, Any]) -> HtlcLog | None:
    """One log of the HTLC (`topics` and `data` as bytes or 0x-hex, as web3 and JSON-RPC give them).

    None for a log that is none of the three. The caller checks that the log's address is the HTLC. Raises
    ValueError or eth_abi's DecodingError for one that the contract cannot have written.
    """
    topics = [_to_bytes(topic) for topic in log["topics"]]
    if len(topics) != 2 or topics[0] not in TOPICS:
        return None
    kind, key = topics
    data = _to_bytes(log["data"])
    if len(data) != _DATA_BYTES.get(kind, len(data)):
        raise ValueError(f"a log of the HTLC with {len(data)} bytes of data")
    if kind == TOPIC_REFUNDED:
        return Refunded(lock_id=key)
    if kind == TOPIC_CLAIMED:
        return Claimed(lock_id=key, preimage=data)
    if kind == TOPIC_CLAIMED_BYTES:
        (preimage,) = decode(["bytes"], data)
        return Claimed(lock_id=key, preimage=preimage)
    if kind == TOPIC_LOCKED_COIN:
        payee = int.from_bytes(data[:32], "big")
        payer = int.from_bytes(data[32:], "big")
        sender, token, amount = _address_of(payer), COIN, payer >> 160
    else:
        payee, sender, token, amount = decode(["uint256", "address", "address", "uint256"], data)
    return Locked(
        terms=EvmLockTerms(
            sender=sender,
            recipient=_address_of(payee),
            token=token,
            amount=amount,
            hashlock=key,
            deadline=payee >> 160 & MAX_DEADLINE,
            lane=payee >> 224,
        )
    )


def _address_of(word: int) -> str:
    return f"0x{word & (2**160 - 1):040x}"


def _to_bytes(value: bytes | str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else bytes(value)
