"""What is deleted from the database in time, and what never is."""

from __future__ import annotations

from starlette.testclient import TestClient

from bridge.config import Settings
from bridge.desk.tidying import tidy
from bridge.protocol.types import SwapId, SwapState
from bridge.store import Store
from tests.unit.api import play
from tests.unit.api.play import AUTH, Clock

DAY = 86_400


def test_quotes_that_nobody_took_go_after_a_week_and_taken_ones_stay(
    client: TestClient, store: Store, settings: Settings, clock: Clock
) -> None:
    taken = play.place(client)
    untaken = play.ask(client)
    with store.reading() as tx:
        swap = tx.swaps.get(SwapId(taken["id"]))
        assert swap is not None
        taken_quote = swap.meta.quote_id
    clock.pass_seconds(3_600)
    with store.transaction() as tx:
        tx.quotes.expire()
        tx.reservations.release_expired()
    clock.pass_seconds(6 * DAY)
    assert tidy(store, settings.database) == 0
    clock.pass_seconds(DAY)
    assert tidy(store, settings.database) == 1
    with store.reading() as tx:
        assert tx.quotes.get(untaken["id"]) is None
        assert taken_quote is not None
        assert tx.quotes.get(taken_quote) is not None
        assert any(held.live for held in tx.reservations.of_swap(SwapId(taken["id"])))


def test_events_of_swaps_that_have_ended_go_but_for_the_newest(
    client: TestClient, store: Store, settings: Settings, clock: Clock
) -> None:
    ended, open_swap = play.place(client, 1), play.place(client, 2)
    assert play.claim_both(store, ended["id"], 1).state is SwapState.COMPLETED
    with store.reading() as tx:
        before = {each["id"]: tx.events.after(0, 500, SwapId(each["id"])) for each in (ended, open_swap)}
    clock.pass_seconds(179 * DAY)
    tidy(store, settings.database)
    with store.reading() as tx:
        assert tx.events.after(0, 500, SwapId(ended["id"])) == before[ended["id"]]
    clock.pass_seconds(2 * DAY)
    assert tidy(store, settings.database) > 0
    with store.reading() as tx:
        assert tx.events.after(0, 500, SwapId(ended["id"])) == before[ended["id"]][-1:]
        assert tx.events.after(0, 500, SwapId(open_swap["id"])) == before[open_swap["id"]]
        assert tx.notifications.after(0, 500, SwapId(ended["id"])) == []
        assert tx.swaps.get(SwapId(ended["id"])) is not None
        assert tx.receipts.get(SwapId(ended["id"])) is not None
    assert tidy(store, settings.database) == 0


def test_a_request_key_is_remembered_for_a_day(
    client: TestClient, store: Store, settings: Settings, clock: Clock
) -> None:
    order = play.order(play.ask(client), 1)
    headers = {**AUTH, "Idempotency-Key": "order-0001"}
    first = client.post("/v1/swaps", json=order, headers=headers)
    clock.pass_seconds(DAY - 1)
    assert tidy(store, settings.database) == 0
    again = client.post("/v1/swaps", json=order, headers=headers)
    assert (first.status_code, again.status_code, again.json()["id"]) == (201, 200, first.json()["id"])
    clock.pass_seconds(2)
    assert tidy(store, settings.database) == 1
    assert client.post("/v1/swaps", json=order, headers=headers).status_code != 200


def test_two_strangers_may_choose_the_same_request_key(client: TestClient) -> None:
    headers = {"Idempotency-Key": "order-0001"}
    orders = [play.order(play.ask(client), number) for number in (1, 2)]
    first, second = (client.post("/v1/swaps", json=order, headers=headers) for order in orders)
    assert (first.status_code, second.status_code) == (201, 201)
    assert client.post("/v1/swaps", json=orders[0], headers=headers).json()["id"] == first.json()["id"]
