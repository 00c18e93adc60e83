"""Quotes: what they promise, hold, and when they end."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import Any

import httpx
import msgspec
import pytest
from starlette.testclient import TestClient

from bridge.api.app import create_app
from bridge.api.services import Services
from bridge.chains.port import FeeEstimate
from bridge.client.client import BridgeClient
from bridge.client.errors import UnsafeError
from bridge.client.proxied import HttpxTransport
from bridge.client.swap import checked_quote
from bridge.config.sections import PricesConfig
from bridge.desk.market import rate_text
from bridge.desk.price_feeds import HttpFeed
from bridge.desk.prices import Movement, PriceBook, PriceUnavailableError
from bridge.desk.quotes import QuoteAsk
from bridge.desk.refused import Reason, RefusedError
from bridge.protocol.pricing import FixedSide
from bridge.protocol.types import Amount, LegRole
from bridge.store import Store
from bridge.wire.market import QuoteView
from tests import instances
from tests.unit.api import play
from tests.unit.api.play import ETH, ZION, Clock, problem


def test_a_quote_adds_up_to_the_last_unit(client: TestClient) -> None:
    quote = play.ask(client, amount="123456789012345678", gasless=True)
    gross = 123456789012345678 * 4000 * 10**8 // 10**18
    fees = sum(int(line["money"]["amount"]) for line in quote["fees"])
    assert int(quote["to"]["amount"]) + fees == gross
    assert {line["name"] for line in quote["fees"]} >= {"base", "source_claim", "destination_lock"}


def test_what_arrives_can_be_fixed_and_rounding_never_favours_the_client(client: TestClient) -> None:
    quote = play.ask(client, amount="100000000001", side="to")
    assert quote["to"]["amount"] == "100000000001"
    back = play.ask(client, amount=quote["from"]["amount"])
    assert int(back["to"]["amount"]) >= 100000000001
    one_less = play.ask(client, amount=str(int(quote["from"]["amount"]) - 2_600_000))
    assert int(one_less["to"]["amount"]) < 100000000001


def test_amounts_outside_the_limits_are_refused_with_the_limits(client: TestClient) -> None:
    for amount in ("1", str(6 * 10**18)):
        response = client.post("/v1/quotes", json={"from": ETH, "to": ZION, "amount": amount})
        assert problem(response) == "amount-out-of-range"
        assert response.status_code == 422


def test_a_quote_expires_and_gives_its_inventory_back(
    client: TestClient, services: Services, store: Store, clock: Clock
) -> None:
    quote = play.ask(client)
    with store.reading() as tx:
        assert tx.reservations.outstanding(ZION) >= int(quote["to"]["amount"])
    clock.pass_seconds(services.settings.swaps.quote_ttl)
    response = client.post("/v1/swaps", json=play.order(quote))
    assert problem(response) == "quote-gone"
    services.quotes.sweep()
    with store.reading() as tx:
        assert tx.reservations.outstanding(ZION) == 0
        assert tx.reservations.outstanding(ETH) == 0


def test_a_taken_quote_cannot_be_taken_twice(client: TestClient) -> None:
    quote = play.ask(client)
    assert client.post("/v1/swaps", json=play.order(quote)).status_code == 201
    assert problem(client.post("/v1/swaps", json=play.order(quote, 2))) == "quote-gone"


def test_the_gas_to_finish_is_reserved_beside_the_amount(client: TestClient, store: Store) -> None:
    quote = play.ask(client, gasless=True)
    with store.reading() as tx:
        assert tx.reservations.outstanding(ETH) == 2 * 10**14  # the claim, twice the estimate
        assert tx.reservations.outstanding(ZION) == int(quote["to_max"]["amount"]) + 2 * (1000 + 1000)


def test_threads_racing_for_the_last_inventory_never_promise_more_than_there_is(
    services: Services, store: Store, clock: Clock
) -> None:
    with store.transaction() as tx:
        play.put_status(tx, instances.ZION, clock, balances={ZION: 10_000 * 10**8})
    ask = QuoteAsk(ETH, ZION, Amount(10**18), FixedSide.SOURCE, gasless=False, client="")
    made: list[int] = []
    refused: list[Reason] = []

    def race(number: int) -> None:
        try:
            mine = msgspec.structs.replace(ask, client=f"c{number}")
            made.append(services.quotes.make(mine).body.price.destination)
        except RefusedError as error:
            refused.append(error.reason)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2  # a third of ≈ 3,988 does not fit into 10,000
    assert refused == [Reason.NO_INVENTORY] * 6
    with store.reading() as tx:
        assert tx.reservations.outstanding(ZION) <= 10_000 * 10**8


def test_a_lock_that_is_final_no_longer_counts_against_what_is_left_of_the_balance(
    client: TestClient, store: Store
) -> None:
    swap = play.place(client)
    with store.reading() as tx:
        assert tx.reservations.outstanding(ZION) > 0
    play.lock_both(store, swap["id"])
    with store.reading() as tx:
        assert tx.reservations.outstanding(ZION) == 2 * 1000  # a refund may still be to be paid
        assert tx.reservations.outstanding(ETH) > 0  # the claim is still to be paid


def test_a_client_holds_few_quotes_at_a_time(client: TestClient, services: Services) -> None:
    for _ in range(services.settings.swaps.open_quotes_per_client):
        play.ask(client)
    response = client.post("/v1/quotes", json={"from": ETH, "to": ZION, "amount": str(10**18)})
    assert problem(response) == "limit-reached"
    assert int(response.headers["Retry-After"]) > 0


def test_swaps_that_nobody_funds_stop_a_client_from_getting_more(client: TestClient, store: Store) -> None:
    swaps = [play.place(client, number) for number in range(3)]
    response = client.post("/v1/quotes", json={"from": ETH, "to": ZION, "amount": str(10**18)})
    assert problem(response) == "limit-reached"
    play.lock(store, swaps[0]["id"], LegRole.SOURCE)
    play.ask(client)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"healthy": False, "detail": "RPC down"}, "RPC down"),
        ({"seen_ms": (play.START - 61) * 1000}, "nothing was heard"),
        ({"tip": None}, "not reported"),
        ({"fees": {}}, "fees"),
    ],
)
def test_nothing_is_sold_on_a_chain_that_cannot_be_relied_on(
    client: TestClient, store: Store, clock: Clock, changes: dict[str, Any], words: str
) -> None:
    with store.transaction() as tx:
        play.put_status(tx, instances.ZION, clock, **changes)
    response = client.post("/v1/quotes", json={"from": ETH, "to": ZION, "amount": str(10**18)})
    assert problem(response) == "chain-unavailable"
    assert words in response.json()["detail"]
    pairs = client.get("/v1/pairs").json()["pairs"]
    assert not any(pair["available"] for pair in pairs)


def test_deadlines_leave_the_bridge_time_and_follow_the_chains_clocks(
    client: TestClient, store: Store, clock: Clock
) -> None:
    before = play.ask(client)
    assert before["source_deadline"]["unix"] > before["destination_deadline"]["unix"]
    assert before["reveal_by"]["unix"] < before["destination_deadline"]["unix"]
    with store.transaction() as tx:
        for chain in (instances.ZION, instances.ETHEREUM):
            play.put_status(tx, chain, clock, time=clock.seconds() + 5_000)
    after = play.ask(client)
    assert after["source_deadline"]["unix"] == before["source_deadline"]["unix"] + 5_000


def test_more_at_stake_needs_more_confirmations(client: TestClient) -> None:
    small, large = play.ask(client, amount=str(10**16)), play.ask(client, amount=str(5 * 10**18))
    assert small["source_confirmations"] == 64
    assert play.ask(client, amount=str(10**18))["source_confirmations"] == 65  # `value_per_block` of 1 ETH
    assert large["source_confirmations"] == 96  # and `finalized`: it is above `finalized_above`
    assert large["destination_confirmations"] > small["destination_confirmations"]


def test_a_quote_is_signed_and_a_changed_one_is_not_believed(client: TestClient) -> None:
    answer = play.ask(client)
    quote = msgspec.convert(answer, QuoteView)
    assert checked_quote(quote, client.get("/v1/keys").json()["public_key"]).id == answer["id"]
    with pytest.raises(UnsafeError, match="pinned"):
        checked_quote(quote, "00" * 32)
    richer = msgspec.convert(answer | {"to": answer["to"] | {"amount": "1"}}, QuoteView)
    with pytest.raises(UnsafeError, match="other terms"):
        checked_quote(richer)
    forged = answer["signed_text"].replace('"gasless":false', '"gasless":true')
    with pytest.raises(UnsafeError, match="signature"):
        checked_quote(msgspec.convert(answer | {"signed_text": forged}, QuoteView))


def test_rates_are_shown_exactly_enough() -> None:
    assert rate_text(Fraction(4000)) == "4000"
    assert rate_text(Fraction(1, 4000)) == "0.00025"
    assert rate_text(Fraction(1, 3)).startswith("0.333333333333333")
    assert rate_text(Fraction(10**30 + 1, 10**5)) == str(10**25)


class Feed:
    """A price feed that answers what it is told to."""

    def __init__(self) -> None:
        self.clock = 1_000_000
        self.body = b'{"time": 1000000, "prices": {"zion:ZION": "0.5", "ethereum:ETH": 2000.25}}'
        self.status = 200
        transport = httpx.MockTransport(lambda _: httpx.Response(self.status, content=self.body))
        self.prices = PriceBook(
            PricesConfig(source="http", url="http://feed/prices.json"),
            [HttpFeed("http://feed/prices.json", transport)],
            ["zion:ZION", "ethereum:ETH", "a:B"],
            lambda: self.clock,
            alone=True,
        )


def test_a_pair_shows_the_spread_that_a_quote_takes(client: TestClient, services: Services) -> None:
    assert isinstance(services.prices, play.FixedPrices)
    services.prices.moves = Movement(volatility_ppm=800_000)
    (pair,) = [p for p in client.get("/v1/pairs").json()["pairs"] if p["to"]["asset"] == ZION]
    quote = client.post("/v1/quotes", json={"from": ETH, "to": ZION, "amount": pair["min"]["amount"]}).json()
    items = {line["name"]: int(line["money"]["amount"]) for line in quote["fees"]}
    spread = sum(items.get(name, 0) for name in ("base", "option", "jump", "peg", "reorg"))
    gross = int(pair["min"]["amount"]) * 4000 * 10**8 // 10**18
    assert pair["spread_ppm"] > 3_000
    assert abs(spread * 10**6 - gross * pair["spread_ppm"]) <= 10**6


def test_the_amount_may_follow_the_price_within_signed_limits_and_the_most_is_held(
    client: TestClient, services: Services, store: Store
) -> None:
    assert isinstance(services.prices, play.FixedPrices)
    services.prices.moves = Movement(volatility_ppm=800_000)
    quote = play.ask(client)
    least, quoted, most = (int(quote[name]["amount"]) for name in ("to_min", "to", "to_max"))
    assert least < quoted < most
    assert quoted - least == pytest.approx(most - quoted, abs=2)
    assert 0.004 < (most - quoted) / quoted < 0.03
    body = checked_quote(msgspec.convert(quote, QuoteView))
    left_open = body.policy.counterlock
    assert left_open is not None
    assert (left_open.minimum, left_open.quoted, left_open.maximum) == (least, quoted, most)
    assert left_open.latest == body.destination_deadline
    with store.reading() as tx:
        assert tx.reservations.outstanding(ZION) >= most
    assert quote["tolerance_ppm"] is None


@pytest.mark.parametrize("how", ["firm", "side"])
def test_what_arrives_may_be_fixed_at_a_higher_price(
    client: TestClient, services: Services, how: str
) -> None:
    assert isinstance(services.prices, play.FixedPrices)
    services.prices.moves = Movement(volatility_ppm=800_000)
    floating = play.ask(client)
    more = {"firm": True} if how == "firm" else {"side": "to", "amount": floating["to"]["amount"]}
    firm = play.ask(client, **more)
    assert firm["to_min"] == firm["to"] == firm["to_max"]
    assert firm["tolerance_ppm"] > 1_000
    if how == "firm":
        assert int(firm["to"]["amount"]) < int(floating["to"]["amount"])
    else:
        assert int(firm["from"]["amount"]) > int(floating["from"]["amount"])


def test_the_first_quote_finds_prices_and_they_were_read_once(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(services.prices, "refresh", lambda: read.append(1))
    with TestClient(create_app(services)) as client:
        assert read == [1]
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/pairs").status_code == 200
        assert read == [1]


def test_a_feed_is_read_exactly_and_a_stale_price_stops_quoting() -> None:
    feed = Feed()
    with pytest.raises(PriceUnavailableError):
        feed.prices.price("zion:ZION")
    feed.prices.refresh()
    assert feed.prices.price("ethereum:ETH").value == Fraction(200025, 100)
    feed.clock += 60
    feed.prices.price("zion:ZION")
    feed.clock += 1
    with pytest.raises(PriceUnavailableError, match="61 s old"):
        feed.prices.price("zion:ZION")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"prices": {}}', b"x" * 300_000],
)
def test_a_feed_that_talks_nonsense_leaves_the_last_prices_standing(body: bytes) -> None:
    feed = Feed()
    feed.prices.refresh()
    feed.body = body
    with pytest.raises(PriceUnavailableError):
        feed.prices.refresh()
    assert feed.prices.price("zion:ZION").value == Fraction(1, 2)


def test_a_feed_of_the_future_is_not_believed() -> None:
    feed = Feed()
    feed.prices.refresh()
    feed.body = feed.body.replace(b"1000000", b"1000031").replace(b"0.5", b"0.7")
    feed.prices.refresh()
    assert feed.prices.price("zion:ZION").value == Fraction(1, 2)
    feed.body = feed.body.replace(b"1000031", b"1000030").replace(b"0.7", b"0.501")
    feed.prices.refresh()
    assert feed.prices.price("zion:ZION").value == Fraction(501, 1_000)


def test_prices_of_nought_or_infinity_are_none() -> None:
    feed = Feed()
    feed.body = b'{"time": 1000000, "prices": {"zion:ZION": "0", "ethereum:ETH": "Infinity", "a:B": -1}}'
    feed.prices.refresh()
    for asset in ("zion:ZION", "ethereum:ETH", "a:B"):
        with pytest.raises(PriceUnavailableError):
            feed.prices.price(asset)


async def test_the_client_reads_what_the_server_writes(app: Any, client: TestClient) -> None:
    transport = HttpxTransport("http://bridge", httpx.ASGITransport(app))
    async with BridgeClient("http://bridge", transport=transport) as bridge:
        assert {view.chain for view in (await bridge.chains()).chains} == {instances.ZION, instances.ETHEREUM}
        pairs = (await bridge.pairs()).pairs
        assert all(pair.available for pair in pairs)
        quote = await bridge.quote(ETH, ZION, 10**18)
        assert quote.source.amount == str(10**18)


def test_the_least_amount_that_a_pair_names_is_taken_and_one_unit_less_is_not(
    client: TestClient, store: Store, clock: Clock
) -> None:
    for least in (0, 400 * 10**8):  # the costs alone decide, or what a lock on the destination can hold
        with store.transaction() as tx:
            fees = FeeEstimate(
                lock=Amount(2 * 10**11), claim=Amount(10**3), refund=Amount(10**3), minimum=Amount(least)
            )
            play.put_status(tx, instances.ZION, clock, fees={ZION: fees})
        (pair,) = [p for p in client.get("/v1/pairs").json()["pairs"] if p["to"]["asset"] == ZION]
        assert pair["available"], pair["reason"]
        amount = int(pair["min"]["amount"])
        body = {"from": ETH, "to": ZION, "amount": str(amount), "side": "from"}
        assert client.post("/v1/quotes", json=body).status_code == 201
        body["amount"] = str(amount - 10**9)
        assert problem(client.post("/v1/quotes", json=body)) == "amount-out-of-range"


def test_a_pair_whose_costs_exceed_its_maximum_is_not_available(
    client: TestClient, store: Store, clock: Clock
) -> None:
    with store.transaction() as tx:
        fees = FeeEstimate(lock=Amount(10**18), claim=Amount(10**3), refund=Amount(10**3))
        play.put_status(tx, instances.ZION, clock, fees={ZION: fees})
    (pair,) = [p for p in client.get("/v1/pairs").json()["pairs"] if p["to"]["asset"] == ZION]
    assert not pair["available"]
    assert "costs" in pair["reason"]


@pytest.mark.parametrize(
    ("ago", "age", "sold"), [(0, 0, False), (1_799, 0, False), (1_801, 0, True), (7_200, 601, False)]
)
def test_nothing_is_sold_on_a_chain_that_stands_still_or_just_did(
    store: Store, clock: Clock, client: TestClient, ago: int, age: int, sold: bool
) -> None:
    with store.transaction() as tx:
        play.put_status(
            tx,
            instances.ZION,
            clock,
            resumed_ms=clock.now_ms - ago * 1_000,
            tip_ms=clock.now_ms - age * 1_000,
        )
    response = client.post("/v1/quotes", json={"from": ETH, "to": ZION, "amount": str(10**18)})
    assert response.status_code == (201 if sold else 503), response.text
    if not sold:
        assert problem(response) == "chain-unavailable"
