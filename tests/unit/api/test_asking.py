"""Endpoints that ask a chain: bounded in time and number, after every check that needs none, and no chain's
trouble costs a user the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.testclient import TestClient

from bridge.api.services import Services
from bridge.chains.errors import ActionRefusedError, PortUnavailableError
from bridge.chains.port import UnsignedTx
from bridge.desk import chain_queries as asking
from bridge.desk.chain_queries import Asking
from bridge.protocol.events import OperatorCommand, OperatorVerb
from bridge.protocol.types import LegRole, LockTerms, Preimage, SwapId
from bridge.store import Store
from tests import instances
from tests.unit.api import play
from tests.unit.api.play import TO_ETHER, ReadyBuilder, authorizer_of, destination_of, hand_over, problem


async def test_a_chain_is_asked_by_a_few_at_once_and_nobody_waits_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "LOOK_SECONDS", 0.05)
    asker, running, most = Asking(), 0, 0

    async def hangs() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(60)
        finally:
            running -= 1

    looks = [asker.ask(instances.ZION, hangs) for _ in range(3 * asking.LOOKS_AT_ONCE)]
    ends = await asyncio.gather(*looks, return_exceptions=True)
    assert {type(end) for end in ends} == {PortUnavailableError}
    assert most == asking.LOOKS_AT_ONCE
    assert running == 0


def test_a_chain_that_hangs_makes_nobody_wait_for_ever(
    client: TestClient, locked: dict[str, Any], services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LOOK_SECONDS", 0.05)
    authorizer_of(services, instances.ZION, {}, required=True)

    async def hangs(*_: object) -> Any:
        await asyncio.sleep(60)

    authorizer = services.ports[instances.ZION].authorizer
    monkeypatch.setattr(authorizer, "request", hangs)
    monkeypatch.setattr(authorizer, "check", hangs)
    assert problem(client.get(f"/v1/swaps/{locked['id']}/claim")) == "chain-unavailable"
    assert problem(hand_over(client, locked["id"], authorization={"a": "b"})) == "chain-unavailable"


def test_who_does_not_know_the_preimage_makes_the_bridge_ask_no_chain(
    client: TestClient, store: Store, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorizer_of(services, instances.ZION, {}, required=True)
    swap = play.place(client, gasless=True)
    asked = []

    async def check(*_: object) -> bytes:
        asked.append(True)
        return b"signed"

    monkeypatch.setattr(services.ports[instances.ZION].authorizer, "check", check)
    guess = {"preimage": "00" * 32, "authorization": {"a": "b"}}
    path = f"/v1/swaps/{swap['id']}/claim"
    assert problem(hand_over(client, swap["id"], authorization={"a": "b"})) == "wrong-state"  # nothing locked
    play.lock_both(store, swap["id"])
    assert problem(client.post(path, json=guess)) == "wrong-preimage"
    assert not asked
    assert hand_over(client, swap["id"], authorization={"a": "b"}).json()["secret_shared"]


def test_a_secret_is_not_taken_too_late_even_while_the_chains_relayer_is_away(
    client: TestClient, locked: dict[str, Any], store: Store, clock: play.Clock
) -> None:
    deadline = destination_of(store, locked["id"]).deadline
    clock.pass_seconds(deadline - clock.seconds())  # and nobody writes what the chain's clock says
    assert problem(hand_over(client, locked["id"])) == "wrong-state"
    with store.reading() as tx:
        assert not tx.secrets.known(play.preimage().hashlock())


def test_terms_that_need_no_price_are_given_without_one(
    client: TestClient, store: Store, clock: play.Clock
) -> None:
    swap = play.place(client, **TO_ETHER)
    with store.transaction() as tx:
        play.put_status(tx, instances.ETHEREUM, clock, healthy=False)
    assert client.get(f"/v1/swaps/{swap['id']}/claim").json()["needed"] == "unavailable"


def test_a_mistake_in_a_builder_costs_no_user_the_answer(client: TestClient, builder: ReadyBuilder) -> None:
    builder.trouble = KeyError("result")
    assert play.place(client)["transaction"]["format"] == "fake"


def test_a_swap_whose_lock_nobody_could_make_is_not_stored(
    client: TestClient, store: Store, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_purpose: object, _terms: LockTerms, _preimage: Preimage | None = None) -> UnsignedTx:
        raise ActionRefusedError("the amount is too small", "take more")

    quote = play.ask(client)
    monkeypatch.setattr(services.ports[instances.ETHEREUM], "unsigned", refuses)
    assert problem(client.post("/v1/swaps", json=play.order(quote))) == "wrong-state"
    with store.reading() as tx:
        assert tx.swaps.by_hashlock(play.preimage().hashlock()) is None


def test_no_lock_is_made_that_would_come_too_late_or_a_second_time(
    client: TestClient, store: Store, clock: play.Clock
) -> None:
    paths = [f"/v1/swaps/{play.place(client, number)['id']}/transactions" for number in (1, 2, 3)]
    ids = [path.split("/")[3] for path in paths]
    lock = {"purpose": "lock"}
    assert all(client.post(path, json=lock).status_code == 200 for path in paths)
    play.lock(store, ids[0], LegRole.SOURCE)
    assert problem(client.post(paths[0], json=lock)) == "wrong-state"
    play.happen(store, ids[1], OperatorCommand(OperatorVerb.COOPERATIVE_REFUND, by="client"))
    assert problem(client.post(paths[1], json=lock)) == "wrong-state"
    with store.reading() as tx:
        stored = tx.swaps.get(SwapId(ids[2]))
    assert stored is not None
    clock.pass_seconds(stored.swap.policy.lock_by - clock.seconds() + 1)
    assert problem(client.post(paths[2], json=lock)) == "wrong-state"
    assert client.post(paths[2], json={"purpose": "refund"}).status_code == 200
