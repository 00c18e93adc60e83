"""What an operator sees of the desk: it adds up with what is reserved and locked."""

from __future__ import annotations

from fractions import Fraction

import msgspec
from starlette.testclient import TestClient

from bridge.api.services import Services
from bridge.desk.overview import Overview, Position, overview
from bridge.protocol.types import LegRole
from bridge.store import Store
from bridge.store.records import MarketPrice
from bridge.store.repositories.market import price_name
from tests.unit.api import play
from tests.unit.api.play import ETH, ZION


def read(store: Store, services: Services) -> Overview:
    with store.reading() as tx:
        return overview(tx, services.settings)


def position(found: Overview, key: str) -> Position:
    (one,) = [line for line in found.positions if line.asset.key == key]
    return one


def test_a_quote_a_swap_and_its_locks_show_where_the_money_is(
    client: TestClient, services: Services, store: Store
) -> None:
    before = position(read(store, services), ZION)
    assert (before.reserved, before.locked, before.coming) == (0, 0, 0)
    quote = play.ask(client)
    asked = read(store, services)
    held = position(asked, ZION)
    assert held.balance is not None
    assert held.available == held.balance - held.kept - held.reserved
    assert held.reserved >= int(quote["to_max"]["amount"])
    assert {holder.why for holder in asked.holders} == {"a quote that may still be taken"}
    swap_id = client.post("/v1/swaps", json=play.order(quote)).json()["id"]
    waiting = {holder.why for holder in read(store, services).holders}
    assert waiting == {"a swap whose user has not locked yet", "fees of our claim, or of our refund"}
    play.lock(store, swap_id, LegRole.SOURCE)
    assert position(read(store, services), ETH).coming == 10**18
    play.lock(store, swap_id, LegRole.DESTINATION)
    locked = read(store, services)
    assert position(locked, ZION).locked == int(quote["to"]["amount"])
    assert {(chain.chain, chain.swaps) for chain in locked.exposures} == {("ethereum", 1), ("zion", 1)}


def test_what_is_open_on_a_chain_is_worth_what_its_locks_are(
    client: TestClient, services: Services, store: Store
) -> None:
    swap_id = client.post("/v1/swaps", json=play.order(play.ask(client))).json()["id"]
    play.lock(store, swap_id, LegRole.SOURCE)
    assert {chain.value for chain in read(store, services).exposures if chain.chain == "ethereum"} == {None}
    with store.transaction() as tx:
        price = MarketPrice(ETH, 2_000, 1, (2_000, 1), (2_000, 1), play.START, 3_600, "", ("one",))
        tx.market.put({price_name(ETH): msgspec.json.encode(price).decode()})
    found = read(store, services)
    assert {chain.value for chain in found.exposures if chain.chain == "ethereum"} == {Fraction(2_000)}
    assert position(found, ZION).value is None
