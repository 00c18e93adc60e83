"""Handing a claim over to the relayer: on what terms, with which signature, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from bridge.api.services import Services
from bridge.chains.errors import CannotReceiveError, PortUnavailableError
from bridge.chains.port import UnsignedTx
from bridge.desk.assisted_claims import FEE_HEADROOM_PERCENT
from bridge.protocol.events import ClaimFinal, ClaimSeen
from bridge.protocol.types import Amount, ChainId, LegRole, LockId, LockTerms, TxId
from bridge.store import Store
from relayers.fake.ledger import lock_id_of
from tests import instances
from tests.unit.api import play
from tests.unit.api.play import (
    ETH,
    TO_ETHER,
    ZION,
    ReadyBuilder,
    authorizer_of,
    destination_of,
    hand_over,
    problem,
)


def signed_by(
    services: Services, chain: ChainId, terms: LockTerms, request: dict[str, Any]
) -> dict[str, str]:
    authorizer = services.ports[chain].authorizer
    assert authorizer is not None
    unsigned = UnsignedTx(request["format"], request["summary"], request["payload"])
    return asyncio.run(authorizer.sign(terms, unsigned, Amount(int(request["payload"]["max_fee"]))))


def test_a_gasless_claim_needs_the_preimage_alone(client: TestClient, locked: dict[str, Any]) -> None:
    terms = client.get(f"/v1/swaps/{locked['id']}/claim").json()
    assert terms["needed"] == "nothing"
    assert terms["request"] is None
    assert hand_over(client, locked["id"]).json()["secret_shared"]


def test_nobody_is_told_to_hand_the_preimage_over_before_it_is_time(client: TestClient, store: Store) -> None:
    swap = play.place(client, gasless=True)
    advice = client.get(f"/v1/swaps/{swap['id']}/claim").json()["detail"]
    assert advice.startswith("do not hand the preimage over now: the destination is not locked")
    assert "keep the secret to yourself" in advice
    play.lock_both(store, swap["id"])
    advice = client.get(f"/v1/swaps/{swap['id']}/claim").json()["detail"]
    assert advice == "check the bridge's lock on its chain, then hand the preimage over"


def test_where_nobody_can_take_a_fee_only_gasless_quotes_are_claimed(
    client: TestClient, store: Store
) -> None:
    swap = play.place(client, **TO_ETHER)
    play.lock_both(store, swap["id"])
    assert client.get(f"/v1/swaps/{swap['id']}/claim").json()["needed"] == "unavailable"
    assert problem(hand_over(client, swap["id"])) == "wrong-state"


def test_without_gasless_the_recipient_signs_a_fee_that_covers_the_claim(
    client: TestClient, store: Store, services: Services
) -> None:
    open_locks: dict[str, object] = {}
    authorizer_of(services, instances.ETHEREUM, open_locks, required=False)
    swap = play.place(client, **TO_ETHER)
    terms = destination_of(store, swap["id"])
    assert client.get(f"/v1/swaps/{swap['id']}/claim").json()["request"] is None  # no lock yet
    play.lock_both(store, swap["id"])
    open_locks[lock_id_of(terms)] = True

    asked = client.get(f"/v1/swaps/{swap['id']}/claim").json()
    assert asked["needed"] == "fee"
    cost = 10**14  # what the relayer reports
    assert int(asked["max_fee"]["amount"]) == cost * FEE_HEADROOM_PERCENT // 100
    assert problem(hand_over(client, swap["id"])) == "wrong-state"  # nothing signed

    signed = signed_by(services, instances.ETHEREUM, terms, asked["request"])
    for wrong in ({**signed, "signature": "00"}, {**signed, "max_fee": str(cost - 1)}, {"x": "y"}):
        assert problem(hand_over(client, swap["id"], authorization=wrong)) == "bad-authorization"
    with store.reading() as tx:
        assert not tx.secrets.known(terms.hashlock)
        assert tx.authorizations.get(swap["id"]) == b""

    taken = hand_over(client, swap["id"], authorization=signed)
    assert taken.json()["secret_shared"], taken.text
    with store.reading() as tx:
        assert tx.authorizations.get(swap["id"]).decode().split() == [signed["max_fee"], signed["signature"]]


def test_where_only_the_recipient_can_claim_even_a_gasless_claim_needs_the_signature(
    client: TestClient, locked: dict[str, Any], store: Store, services: Services
) -> None:
    open_locks: dict[str, object] = {}
    authorizer_of(services, instances.ZION, open_locks, required=True)
    terms = destination_of(store, locked["id"])
    open_locks[lock_id_of(terms)] = True
    asked = client.get(f"/v1/swaps/{locked['id']}/claim").json()
    assert (asked["needed"], asked["max_fee"]["amount"]) == ("signature", "0")
    refused = hand_over(client, locked["id"])
    assert problem(refused) == "wrong-state"
    assert "signature" in refused.json()["detail"]
    signed = signed_by(services, instances.ZION, terms, asked["request"])
    assert hand_over(client, locked["id"], authorization=signed).json()["secret_shared"]
    assert hand_over(client, locked["id"]).json()[
        "secret_shared"
    ]  # once taken, the preimage alone changes nothing


def test_a_chain_that_does_not_answer_is_said_to_be_unavailable(
    client: TestClient, locked: dict[str, Any], services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorizer_of(services, instances.ZION, {}, required=True)

    async def down(*_: object) -> Any:
        raise PortUnavailableError("no answer")

    authorizer = services.ports[instances.ZION].authorizer
    monkeypatch.setattr(authorizer, "request", down)
    monkeypatch.setattr(authorizer, "check", down)
    assert problem(client.get(f"/v1/swaps/{locked['id']}/claim")) == "chain-unavailable"
    assert problem(hand_over(client, locked["id"], authorization={"a": "b"})) == "chain-unavailable"


def test_a_signature_that_is_no_plain_text_is_refused_before_any_chain_is_asked(client: TestClient) -> None:
    strange: tuple[Any, ...] = ({"a": "ü"}, {"a": "x" * 9_000}, {str(n): "" for n in range(20)}, {"a": 1}, [])
    for odd in strange:
        assert problem(hand_over(client, "0" * 32, authorization=odd)) == "invalid-request"


# -- transactions for wallets -----------------------------------------------------------------


def test_an_order_gets_a_transaction_that_is_ready_to_sign_and_a_plain_one_while_the_chain_is_down(
    client: TestClient, builder: ReadyBuilder
) -> None:
    assert play.place(client, 1)["transaction"]["format"] == "ready"
    builder.trouble = PortUnavailableError("no answer")
    assert play.place(client, 2)["transaction"]["format"] == "fake"


def test_fresh_transactions_can_be_asked_for_and_a_claim_only_when_it_is_safe_to_show_the_preimage(
    client: TestClient, store: Store, builder: ReadyBuilder
) -> None:
    swap = play.place(client)
    path = f"/v1/swaps/{swap['id']}/transactions"
    first, second = (client.post(path, json={"purpose": "lock"}).json() for _ in range(2))
    assert second["payload"]["fresh"] > first["payload"]["fresh"]
    assert client.post(path, json={"purpose": "refund"}).json()["purpose"] == "refund"

    secret = play.preimage().reveal().hex()
    claim = {"purpose": "claim", "preimage": secret}
    assert problem(client.post(path, json={"purpose": "claim"})) == "invalid-request"
    assert problem(client.post(path, json={"purpose": "lock", "preimage": secret})) == "invalid-request"
    play.lock(store, swap["id"], LegRole.SOURCE)
    assert problem(client.post(path, json=claim)) == "wrong-state"
    play.lock(store, swap["id"], LegRole.DESTINATION)
    assert problem(client.post(path, json={**claim, "preimage": "00"})) == "wrong-preimage"
    made = client.post(path, json=claim).json()
    assert (made["chain"], made["payload"]["preimage"]) == ("zion", secret)
    with store.reading() as tx:
        assert not tx.secrets.known(play.preimage().hashlock()), "the bridge kept it"


# -- what is looked at before a swap is accepted ----------------------------------------------


def test_a_recipient_that_cannot_be_paid_is_named_before_anything_is_locked(
    client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    zion = services.ports[instances.ZION]
    traits = msgspec.structs.replace(zion.traits, needs_consent=True)
    monkeypatch.setattr(zion, "traits", traits)
    quote = play.ask(client)

    async def balance(_address: str, _asset: object) -> int:
        raise CannotReceiveError("alice2 has no trustline", "open one first")

    monkeypatch.setattr(services.ports[instances.ZION], "balance", balance)
    assert client.post("/v1/swaps", json=play.order(quote)).status_code == 201  # a coin needs no consent
    asset = play.ask(client)
    monkeypatch.setattr(services.swaps, "sold", lambda _order: _token(services))
    refused = client.post("/v1/swaps", json=play.order(asset, 2))
    assert problem(refused) == "bad-address"
    assert "trustline" in refused.json()["detail"]


def _token(services: Services) -> Any:
    return msgspec.structs.replace(services.market.asset(ZION), contract="CODE:ISSUER")


def test_what_a_lock_cannot_hold_is_refused_at_quote_time(
    client: TestClient, store: Store, services: Services
) -> None:
    with store.transaction() as tx:
        status = tx.chains.get(instances.ZION)
        assert status is not None
        fees = status.fees[ZION]
        status.fees[ZION] = type(fees)(fees.lock, fees.claim, fees.refund, minimum=Amount(500 * 10**8))
        tx.chains.put(status)
    body = {"from": ETH, "to": ZION, "amount": str(10**17), "side": "from"}
    assert problem(client.post("/v1/quotes", json=body)) == "amount-out-of-range"
    assert client.post("/v1/quotes", json={**body, "amount": str(2 * 10**17)}).status_code == 201
    (pair,) = [p for p in client.get("/v1/pairs").json()["pairs"] if p["from"]["asset"] == ZION]
    assert int(pair["min"]["amount"]) == 500 * 10**8


def test_what_comes_back_with_a_locks_end_is_set_aside_but_not_charged(
    client: TestClient, store: Store
) -> None:
    def fees(quote: dict[str, Any]) -> dict[str, int]:
        return {line["name"]: int(line["money"]["amount"]) for line in quote["fees"]}

    plain = fees(play.ask(client))["destination_lock"]
    with store.transaction() as tx:
        status = tx.chains.get(instances.ZION)
        assert status is not None
        known = status.fees[ZION]
        status.fees[ZION] = type(known)(
            Amount(known.lock + 7_000),
            known.claim,
            known.refund,
            minimum=known.minimum,
            deposit=Amount(7_000),
        )
        tx.chains.put(status)
        before = tx.reservations.reserved(ZION)
    quote = play.ask(client)
    assert fees(quote)["destination_lock"] == plain
    with store.reading() as tx:
        held = tx.reservations.reserved(ZION) - before
    assert held >= int(quote["to"]["amount"]) + plain + 7_000


# -- lanes -------------------------------------------------------------------------------------


FEW_LANES = {"chains": {"ethereum": {"lanes": 2}}, "swaps": {"unfunded_swaps_per_client": 9}}


@pytest.mark.parametrize("overrides", [FEW_LANES])
def test_each_open_lock_of_ours_has_a_lane_of_its_own_until_it_is_over(
    client: TestClient, store: Store
) -> None:
    swaps = [play.place(client, number, **TO_ETHER) for number in (1, 2, 3)]
    lanes = [swap["destination"]["terms"]["lane"] for swap in swaps]
    assert lanes == [1, 2, 0]  # two lanes, and then a place of its own
    assert {swap["source"]["terms"]["lane"] for swap in swaps} == {0}

    done = swaps[1]["id"]
    tip = play.lock_both(store, done).source.lock_block
    assert tip is not None
    for leg in (LegRole.DESTINATION, LegRole.SOURCE):
        assert play.place(client, 4 + len(leg.value), **TO_ETHER)["destination"]["terms"]["lane"] == 0
        seen = ClaimSeen(leg, LockId(f"lock-{leg.value}"), TxId(f"claim-{leg.value}"), tip, play.preimage(2))
        play.happen(store, done, seen, ClaimFinal(leg, LockId(f"lock-{leg.value}")))
    assert play.place(client, 20, **TO_ETHER)["destination"]["terms"]["lane"] == 2


def test_chains_without_lanes_have_none(client: TestClient) -> None:
    assert play.place(client)["destination"]["terms"]["lane"] == 0
