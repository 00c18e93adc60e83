"""The receipt of a swap that ended: a leaf of the transparency log. Pure; docs/proofs.md describes it.

It says what the chains show anyway and nothing else: no client, no quote, no preimage, and not the swap's id,
which opens the swap's page to anybody. In its place stands a commitment to the id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.protocol.types import BlockRef, ChainId, Leg, Swap, SwapId

RECEIPT_VERSION = 1
_COMMITMENT = b"rainbow-swap-v1\n"


def swap_commitment(swap_id: SwapId) -> str:
    """Return SHA-256("rainbow-swap-v1\\n" ‖ id), hex: the id leads to the leaf, and the leaf does not
    lead to the id."""
    return hashlib.sha256(_COMMITMENT + swap_id.encode()).hexdigest()


def receipt_text(swap: Swap, networks: Mapping[ChainId, str]) -> str:
    """Return the receipt as canonical JSON: sorted keys, no spaces, amounts as decimal text, UTF-8.

    It depends on the swap and on what its chains are called (`networks`) alone, so that the same outcome
    gives the same bytes.
    """
    body: dict[str, Any] = {
        "destination": _leg(swap.destination, networks),
        "hashlock": swap.hashlock.hex(),
        "outcome": swap.state.value,
        "source": _leg(swap.source, networks),
        "swap": swap_commitment(swap.id),
        "version": RECEIPT_VERSION,
    }
    if swap.price_seen is not None:
        body["price"] = {
            "at": swap.price_seen.at,
            "destination": swap.price_seen.destination,
            "source": swap.price_seen.source,
            "sources": list(swap.price_seen.sources),
        }
    if swap.payback is not None:
        body["payback"] = _leg(swap.payback, networks)
    return msgspec.json.encode(body, order="sorted").decode()


def is_public(text: str) -> bool:
    """Tell whether a leaf may be shown to everybody. Those of version 0.1 held the swap's id."""
    return '"version":' in text and msgspec.json.decode(text).get("version") == RECEIPT_VERSION


def _leg(leg: Leg, networks: Mapping[ChainId, str]) -> dict[str, Any]:
    terms = leg.terms
    return {
        "amount": str(terms.amount),
        "asset": terms.asset.key,
        "chain": terms.chain,
        "contract": terms.contract,
        "deadline": terms.deadline,
        "lane": terms.lane,
        "lock_block": _block(leg.lock_block),
        "lock_id": leg.lock_id,
        "lock_tx": leg.lock_tx,
        "network": networks.get(terms.chain, ""),
        "recipient": terms.recipient,
        "sender": terms.sender,
        "spend_block": _block(leg.spend_block),
        "spend_tx": leg.spend_tx,
        "state": leg.state.value,
        "token": terms.asset.contract,
    }


def _block(block: BlockRef | None) -> dict[str, Any] | None:
    return None if block is None else {"height": block.height, "id": block.id, "time": block.time}
