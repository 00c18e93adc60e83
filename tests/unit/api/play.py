"""Playing the chains for API tests: statuses as relayers write them, and the events of a swap's life."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from bridge import config
from bridge.chains.port import FeeEstimate, Tip
from bridge.engine.apply import apply_events
from bridge.protocol.events import ClaimFinal, ClaimSeen, Event, LockFinal, LockSeen
from bridge.protocol.types import (
    Amount,
    BlockHeight,
    BlockRef,
    ChainId,
    LegRole,
    LockId,
    Preimage,
    Swap,
    SwapId,
    TxId,
    UnixSeconds,
)
from bridge.store import Store, Transaction
from bridge.store.records import ChainStatus
from relayers.evm.profiles import profile_for
from relayers.evm.timing import timing_of
from tests import instances

START = 1_800_000_000
OPERATOR_KEY = "operator-key-of-the-tests"
READ_ONLY_KEY = "read-only-key-of-the-tests"
ETH, ZION = "ethereum:ETH", "zion:ZION"
ETHEREUM_TIMING = timing_of(profile_for(1, "main")).model_dump()
"""Ethereum's own: network dev has a local network's."""
CLIENT_TOKEN = "t" * 40
AUTH = {"Authorization": f"Bearer {CLIENT_TOKEN}"}
ADMIN = {"Authorization": f"Bearer {OPERATOR_KEY}"}


class Clock:
    """Unix milliseconds, moved by hand."""

    def __init__(self) -> None:
        self.now_ms = START * 1000

    def __call__(self) -> int:
        return self.now_ms

    def seconds(self) -> int:
        return self.now_ms // 1000

    def pass_seconds(self, seconds: int) -> None:
        self.now_ms += seconds * 1000


def base_settings(base: Path, overrides: dict[str, Any] | None = None) -> config.Settings:
    content: dict[str, Any] = {
        "api": {
            "keys": [
                {"name": "ops", "sha256": _digest(OPERATOR_KEY), "scopes": ["read", "pause", "retry"]},
                {"name": "viewer", "sha256": _digest(READ_ONLY_KEY)},
            ],
            "requests_per_minute": 100_000,
            "quotes_per_minute": 100_000,
            "swaps_per_minute": 100_000,
        },
        "assets": [
            {"chain": "ethereum", "symbol": "ETH", "decimals": 18, "keep": "1"},
            {"chain": "zion", "symbol": "ZION", "decimals": 8},
        ],
        "pairs": [
            {"from": ETH, "to": ZION, "min": "0.01", "max": "5"},
            {"from": ZION, "to": ETH, "min": "10", "max": "20000", "gasless": False},
        ],
        "prices": {"static": {ETH: "2000", ZION: "0.5"}},
        "chains": {
            "ethereum": {"timing": {**ETHEREUM_TIMING, "value_per_block": {ETH: "1"}}},
            "zion": {"timing": {"value_per_block": {ZION: "1000"}}},
        },
    }
    for section, values in (overrides or {}).items():
        known = content.get(section)
        content[section] = {**known, **values} if isinstance(known, dict) else values
    return config.parse(content, base)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def put_status(
    tx: Transaction, chain: ChainId, clock: Clock, *, time: int | None = None, **changes: Any
) -> None:
    """Write what a healthy relayer would; `time` is the chain's clock, by default the real one."""
    height = 1_000 + (clock.seconds() - START) // 10
    native = ETH if chain == instances.ETHEREUM else ZION
    balance = 100 * 10**18 if chain == instances.ETHEREUM else 1_000_000 * 10**8
    fee = 10**14 if chain == instances.ETHEREUM else 1_000
    values: dict[str, Any] = {
        "account": "bridge",
        "contract": "htlc",
        "tip": Tip(
            BlockRef(
                BlockHeight(height), f"{height:064x}", f"{height - 1:064x}", UnixSeconds(clock.seconds())
            ),
            UnixSeconds(time or clock.seconds()),
        ),
        "scanned": height,
        "healthy": True,
        "balances": {native: balance},
        "fees": {native: FeeEstimate(lock=Amount(fee), claim=Amount(fee), refund=Amount(fee))},
        "seen_ms": clock.now_ms,
        "tip_ms": clock.now_ms,
        **changes,
    }
    tx.chains.put(ChainStatus(chain=chain, **values))


def preimage(number: int = 1) -> Preimage:
    return Preimage(hashlib.sha256(b"api preimage %d" % number).digest())


def ask(client: TestClient, *, source: str = ETH, destination: str = ZION, **more: Any) -> dict[str, Any]:
    """Get a quote for one whole ETH, or whatever `more` says."""
    body = {"from": source, "to": destination, "amount": str(10**18), **more}
    response = client.post("/v1/quotes", json=body)
    assert response.status_code == 201, response.text
    quote: dict[str, Any] = response.json()
    return quote


def order(quote: dict[str, Any], number: int = 1) -> dict[str, Any]:
    return {
        "quote_id": quote["id"],
        "hashlock": preimage(number).hashlock().hex(),
        "refund_address": "alice",
        "recipient": "alice2",
    }


def place(client: TestClient, number: int = 1, **quote: Any) -> dict[str, Any]:
    """Quote and accept."""
    body = order(ask(client, **quote), number)
    response = client.post("/v1/swaps", json=body, headers=AUTH)
    assert response.status_code == 201, response.text
    swap: dict[str, Any] = response.json()
    return swap


def happen(store: Store, swap_id: str, *events: Event) -> Swap:
    with store.transaction() as tx:
        return apply_events(tx, SwapId(swap_id), events).swap


def lock(store: Store, swap_id: str, leg: LegRole) -> Swap:
    """Lock a leg with exactly the expected terms, finally."""
    with store.reading() as tx:
        stored = tx.swaps.get(SwapId(swap_id))
        assert stored is not None
        status = tx.chains.get(stored.swap.leg(leg).terms.chain)
    assert status is not None
    assert status.tip is not None
    seen = LockSeen(
        leg,
        LockId(f"lock-{leg.value}"),
        stored.swap.leg(leg).terms,
        TxId(f"tx-{leg.value}"),
        status.tip.block,
    )
    return happen(store, swap_id, seen, LockFinal(leg, seen.lock_id))


def lock_both(store: Store, swap_id: str) -> Swap:
    lock(store, swap_id, LegRole.SOURCE)
    return lock(store, swap_id, LegRole.DESTINATION)


def claim_both(store: Store, swap_id: str, number: int = 1) -> Swap:
    swap = lock_both(store, swap_id)
    for leg in (LegRole.DESTINATION, LegRole.SOURCE):
        block = swap.leg(leg).lock_block
        assert block is not None
        seen = ClaimSeen(
            leg, LockId(f"lock-{leg.value}"), TxId(f"claim-{leg.value}"), block, preimage(number)
        )
        swap = happen(store, swap_id, seen, ClaimFinal(leg, seen.lock_id))
    return swap
