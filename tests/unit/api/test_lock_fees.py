"""Lock fees: credit that is staked on finishing, for a smaller spread, and lost only by leaving."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from bridge.api.services import Services
from bridge.client.errors import UnsafeError
from bridge.client.swap import checked_quote
from bridge.desk.prices import Movement
from bridge.desk.quotes import not_enough_credit
from bridge.protocol.events import PriceChecked, RefundFinal, RefundSeen, TxFailed
from bridge.protocol.types import LegRole, LockId, PriceSeen, Purpose, TxId, UnixSeconds
from bridge.store import Store
from bridge.store.repositories.credits import FeeState
from bridge.wire.market import QuoteView
from tests.unit.api import play
from tests.unit.api.play import AUTH, CLIENT_TOKEN, problem

OWNER = hashlib.sha256(b"rainbow client token:" + CLIENT_TOKEN.encode()).hexdigest()
MICRO = 10**6


@pytest.fixture(autouse=True)
def lively(services: Services) -> None:
    assert isinstance(services.prices, play.FixedPrices)
    services.prices.moves = Movement(volatility_ppm=600_000)


def enter(store: Store, units: int) -> None:
    with store.transaction() as tx:
        tx.credits.enter(OWNER, by="test", note="paid", added=units * MICRO)


def ask(client: TestClient, **more: Any) -> dict[str, Any]:
    body = {"from": play.ETH, "to": play.ZION, "amount": str(10**18)} | more
    return dict(client.post("/v1/quotes", json=body, headers=AUTH).json())


def take(client: TestClient, quote: dict[str, Any], number: int = 1) -> Any:
    return client.post("/v1/swaps", json=play.order(quote, number), headers=AUTH)


def credit(client: TestClient) -> dict[str, str]:
    return dict(client.get("/v1/credit", headers=AUTH).json())


def state(store: Store, swap_id: str) -> FeeState:
    with store.reading() as tx:
        return tx.credits.states([swap_id])[swap_id]  # type: ignore[index, list-item]


def test_with_credit_the_spread_is_smaller_and_the_fee_is_signed(client: TestClient, store: Store) -> None:
    plain = ask(client)
    assert plain["lock_fee"] is None
    enter(store, 100)
    cheap = ask(client)
    assert cheap["lock_fee"]["point"] == "low"
    assert int(cheap["to"]["amount"]) > int(plain["to"]["amount"])
    body = checked_quote(msgspec.convert(cheap, QuoteView))
    assert body.lock_fee is not None
    assert body.spread is not None
    exact = 2_000 * MICRO * body.lock_fee.ppb / 10**9  # of one ETH
    assert exact <= body.lock_fee.value < exact + 1
    forged = cheap | {"lock_fee": cheap["lock_fee"] | {"value": "0.000001"}}
    with pytest.raises(UnsafeError, match="other terms"):
        checked_quote(msgspec.convert(forged, QuoteView))


def test_the_larger_the_fee_the_smaller_the_spread(client: TestClient, store: Store) -> None:
    enter(store, 1_000)
    got = [int(ask(client, lock_fee=choice)["to"]["amount"]) for choice in ("none", "low", "even")]
    assert got == sorted(set(got))
    bond = client.post(
        "/v1/quotes",
        json={"from": play.ETH, "to": play.ZION, "amount": str(10**18), "lock_fee": "bond"},
        headers=AUTH,
    )
    assert problem(bond) == "limit-reached"  # a fourth open quote


def test_a_fee_that_the_credit_does_not_cover_is_refused_or_not_proposed(
    client: TestClient, store: Store
) -> None:
    with store.transaction() as tx:
        tx.credits.enter(OWNER, by="test", note="a little", added=1)
    assert ask(client)["lock_fee"] is None
    asked = {"from": play.ETH, "to": play.ZION, "amount": str(10**18), "lock_fee": "low"}
    assert problem(client.post("/v1/quotes", json=asked, headers=AUTH)) == "limit-reached"
    assert problem(client.post("/v1/quotes", json=asked)) == "limit-reached"


def test_amounts_in_the_refusal_are_exact() -> None:
    refused = not_enough_credit(1, 90_071_992_547_409_931)
    assert "fee is 90071992547.409931, your credit has 0.000001 left" in str(refused)


def test_the_fee_is_held_while_the_swap_lasts_and_one_credit_pays_once(
    client: TestClient, store: Store
) -> None:
    enter(store, 100)
    first, second = ask(client), ask(client)
    value = first["lock_fee"]["value"]
    with store.transaction() as tx:
        left = tx.credits.of(OWNER).available - int(value.replace(".", "")) - 1
        tx.credits.enter(OWNER, by="test", note="paid out", removed=left)
    assert take(client, first).status_code == 201
    assert credit(client) == {"client": OWNER, "available": "0.000001", "held": value, "kept": "0.000000"}
    assert problem(take(client, second, 2)) == "limit-reached"
    assert client.post("/v1/swaps", json=play.order(second, 3)).status_code == 429


def test_who_finishes_has_the_fee_back(client: TestClient, store: Store) -> None:
    enter(store, 100)
    swap_id = take(client, ask(client)).json()["id"]
    play.claim_both(store, swap_id)
    assert state(store, swap_id) is FeeState.RETURNED
    assert credit(client)["available"] == "100.000000"


def test_who_leaves_the_bridges_lock_loses_it(client: TestClient, store: Store) -> None:
    enter(store, 100)
    quote = ask(client)
    swap_id = take(client, quote).json()["id"]
    swap = play.lock_both(store, swap_id)
    for leg in (LegRole.DESTINATION, LegRole.SOURCE):
        block = swap.leg(leg).lock_block
        assert block is not None
        late = msgspec.structs.replace(
            block, time=UnixSeconds(swap.source.terms.deadline), height=block.height + 9
        )
        seen = RefundSeen(leg, LockId(f"lock-{leg.value}"), TxId(f"refund-{leg.value}"), late)
        play.happen(store, swap_id, seen, RefundFinal(leg, seen.lock_id))
    assert state(store, swap_id) is FeeState.KEPT
    assert credit(client)["kept"] == quote["lock_fee"]["value"]


def test_whom_the_bridge_sends_away_loses_nothing(client: TestClient, store: Store) -> None:
    enter(store, 100)
    swap_id = take(client, ask(client)).json()["id"]
    swap = play.lock(store, swap_id, LegRole.SOURCE)
    never_sent = TxFailed(LegRole.DESTINATION, Purpose.LOCK, "called off")
    play.happen(store, swap_id, PriceChecked(PriceSeen("1", "1", 0, 9), go=False), never_sent)
    block = swap.source.lock_block
    assert block is not None
    back = msgspec.structs.replace(block, height=block.height + 1)
    seen = RefundSeen(LegRole.SOURCE, LockId("lock-source"), TxId("back"), back)
    play.happen(store, swap_id, seen, RefundFinal(LegRole.SOURCE, seen.lock_id))
    assert state(store, swap_id) is FeeState.RETURNED
    assert credit(client)["held"] == "0.000000"


def test_only_a_client_sees_its_credit(client: TestClient) -> None:
    assert problem(client.get("/v1/credit")) == "unauthorized"
