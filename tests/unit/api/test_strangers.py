"""Asking costs the others nothing: strangers hold no inventory until their lock is seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bridge.api.app import create_app
from bridge.protocol.types import LegRole
from bridge.store import Store
from tests.unit.api import play
from tests.unit.api.play import AUTH, ETH, ZION, Clock, problem

STRANGERS: dict[str, Any] = {
    "desk": {"known_after_swaps": 2, "known_after_value": "3000", "strangers_order_value": "250"},
    "pairs": [{"from": ETH, "to": ZION, "min": "0.01", "max": "500"}],
}
ALL = 1_000_000 * 10**8
"""The bridge's inventory, ZION: 500,000 in the unit of the prices."""


class Shop:
    """A bridge that knows nobody yet, and clients of several networks."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        settings = play.base_settings(folder, STRANGERS)
        self.store = Store.open(f"sqlite:///{folder}/bridge.db", secrets_key=bytes(32), clock=self.clock)
        play.healthy_chains(self.store, self.clock)
        self.app = create_app(play.services_for(settings, self.store, self.clock))

    def client(self, address: str) -> TestClient:
        return TestClient(self.app, client=(address, 1))

    def quote(self, client: TestClient, zion: int, headers: dict[str, str] | None = None) -> Any:
        body = {"from": ETH, "to": ZION, "amount": str(zion * 10**8), "side": "to"}
        return client.post("/v1/quotes", json=body, headers=headers or {})

    def outstanding(self) -> int:
        with self.store.reading() as tx:
            return tx.reservations.outstanding(ZION)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.store.close()


def test_one_anonymous_client_freezes_nothing(shop: Shop) -> None:
    """One network, no money: before, one quote for the whole inventory, accepted, froze it for half an
    hour.
    """
    bad, good = shop.client("6.6.6.6"), shop.client("7.7.7.7")
    whole = shop.quote(bad, 120_000)
    assert problem(whole) == "no-inventory"
    assert "without a record" in whole.json()["detail"]
    for number in range(1, 4):
        made = shop.quote(bad, 49_000)
        assert made.status_code == 201, made.text
        assert bad.post("/v1/swaps", json=play.order(made.json(), number)).status_code == 201
    assert shop.outstanding() == 0
    assert shop.quote(good, 49_000).status_code == 201


def test_a_lock_that_is_seen_holds_its_inventory_and_strangers_have_only_their_pool(shop: Shop) -> None:
    client = shop.client("7.7.7.7")
    quote = shop.quote(client, 49_000).json()
    swap = client.post("/v1/swaps", json=play.order(quote)).json()
    assert shop.outstanding() == 0
    play.lock(shop.store, swap["id"], LegRole.SOURCE)
    held = shop.outstanding()
    assert held >= 49_000 * 10**8
    with shop.store.reading() as tx:
        assert tx.reservations.outstanding_of_strangers(ZION) == held
    # A tenth of what is left of their half.
    most = (ALL // 2 - held) // 10
    assert shop.quote(client, most // 10**8).status_code == 201
    assert problem(shop.quote(client, most // 10**8 + 1)) == "no-inventory"


def test_a_client_with_a_record_holds_inventory_and_may_have_more(shop: Shop) -> None:
    client = shop.client("7.7.7.7")
    for number in (1, 2):
        body = {"from": ETH, "to": ZION, "amount": str(10**18)}
        quote = client.post("/v1/quotes", json=body, headers=AUTH).json()
        swap = client.post("/v1/swaps", json=play.order(quote, number), headers=AUTH).json()
        assert shop.quote(client, 100_000, AUTH).status_code == 503, "not known yet"
        play.claim_both(shop.store, swap["id"], number)
    known = shop.quote(client, 100_000, AUTH)
    assert known.status_code == 201, known.text
    assert shop.outstanding() >= 100_000 * 10**8
    assert shop.quote(client, 100_000).status_code == 503, "without the token it is a stranger"


def test_small_swaps_make_no_record(shop: Shop) -> None:
    client = shop.client("7.7.7.7")
    for number in range(1, 5):
        body = {"from": ETH, "to": ZION, "amount": str(10**16)}
        quote = client.post("/v1/quotes", json=body, headers=AUTH).json()
        swap = client.post("/v1/swaps", json=play.order(quote, number), headers=AUTH).json()
        play.claim_both(shop.store, swap["id"], number)
    assert shop.quote(client, 100_000, AUTH).status_code == 503
