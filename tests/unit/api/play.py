"""Playing the chains for API tests: statuses as relayers write them, and the events of a swap's life."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from bridge import config
from bridge.api.services import Services, build
from bridge.chains.port import FeeEstimate, Tip, UnsignedTx
from bridge.desk.prices import Movement, Price
from bridge.engine.apply import apply_events
from bridge.keys.keystore import devnet_key
from bridge.keys.quote_signature import QuoteSigner
from bridge.protocol.events import ClaimFinal, ClaimSeen, Event, LockFinal, LockSeen
from bridge.protocol.types import (
    Amount,
    BlockHeight,
    BlockRef,
    ChainId,
    LegRole,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    Swap,
    SwapId,
    TxId,
    UnixSeconds,
)
from bridge.store import Store, Transaction
from bridge.store.records import ChainStatus
from relayers.evm.profiles import profile_for
from relayers.evm.timing import timing_of
from relayers.fake.adapter import FakePort
from relayers.fake.authorizing import FakeAuthorizer
from relayers.fake.chain import FakeChain
from tests import instances

START = 1_800_000_000
OPERATOR_KEY = "operator-key-of-the-tests"
READ_ONLY_KEY = "read-only-key-of-the-tests"
ETH, ZION = "ethereum:ETH", "zion:ZION"
ETHEREUM_TIMING = timing_of(profile_for(1, "main")).model_dump()
"""Ethereum's own: network dev has a local network's."""
CLIENT_TOKEN = "t" * 40
AUTH = {"Authorization": f"Bearer {CLIENT_TOKEN}"}
TO_ETHER: dict[str, Any] = {"source": ZION, "destination": ETH, "amount": str(1_000 * 10**8)}
"""The direction that is not on offer as `gasless`."""
ADMIN = {"Authorization": f"Bearer {OPERATOR_KEY}"}


class FixedPrices:
    """Prices that never age and a market that hardly moves: what is not about prices."""

    def __init__(self, table: Mapping[str, str], clock: Callable[[], int]) -> None:
        self.table = {asset: Fraction(text) for asset, text in table.items()}
        self._clock = clock
        self.moves = Movement(volatility_ppm=0)

    def price(self, asset: str) -> Price:
        return Price.exactly(self.table[asset], self._clock())

    def movement(self, source: str, destination: str, seconds: int) -> Movement:
        return self.moves

    def refresh(self) -> None:
        return None


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
                {
                    "name": "ops",
                    "sha256": _digest(OPERATOR_KEY),
                    "scopes": ["read", "pause", "retry", "settle"],
                },
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
        "desk": {"known_after_swaps": 0},
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


def services_for(settings: config.Settings, store: Store, clock: Clock) -> Services:
    """What one API process has, over chains that nothing happens on."""
    assets = settings.assets_by_key()
    ports = {
        chain: FakePort(FakeChain(chain, assets[key]), "bridge")
        for chain, key in ((instances.ETHEREUM, ETH), (instances.ZION, ZION))
    }
    return build(
        settings,
        store,
        prices=FixedPrices(settings.prices.static, clock.seconds),
        signer=QuoteSigner(devnet_key("quotes/signer")),
        ports=ports,
    )


def healthy_chains(store: Store, clock: Clock) -> None:
    """Write what the relayers of both chains would."""
    with store.transaction() as tx:
        for chain in (instances.ETHEREUM, instances.ZION):
            put_status(tx, chain, clock)


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


def problem(response: Any) -> str:
    """Check that an answer is a problem with a hint; returns its kind."""
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["hint"]
    return str(body["type"]).rpartition(":")[2]


def authorizer_of(
    services: Services, chain: ChainId, open_locks: dict[str, object], *, required: bool
) -> None:
    """Let a chain's claims be authorised by their recipient, alice2."""
    services.ports[chain].authorizer = FakeAuthorizer("alice2", open_locks, required=required)


def destination_of(store: Store, swap_id: str) -> LockTerms:
    with store.reading() as tx:
        stored = tx.swaps.get(SwapId(swap_id))
    assert stored is not None
    return stored.swap.destination.terms


def hand_over(client: TestClient, swap_id: str, **more: Any) -> Any:
    """Give the preimage to the bridge."""
    body = {"preimage": preimage().reveal().hex(), **more}
    return client.post(f"/v1/swaps/{swap_id}/claim", json=body)


class ReadyBuilder:
    """Makes transactions with something in them that only a look at the chain gives."""

    private: frozenset[Purpose] = frozenset()

    def __init__(self) -> None:
        self.made = 0
        self.trouble: Exception | None = None

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        if self.trouble is not None:
            raise self.trouble
        self.made += 1
        secret = preimage.reveal().hex() if preimage else ""
        return UnsignedTx("ready", "", {"purpose": purpose.value, "fresh": self.made, "preimage": secret})

    async def close(self) -> None:
        return None
