"""Swaps through the API: orders, secrets, refunds, lists, streams, operators."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

import msgspec
import pytest
import structlog
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from bridge.protocol.events import ClaimSeen, LockFinal
from bridge.protocol.types import ChainId, LegRole, LockId, TxId
from bridge.store import Store
from tests import instances
from tests.unit.api import play
from tests.unit.api.play import ADMIN, AUTH, ETH, ZION, Clock, problem


def test_an_order_gets_the_exact_terms_and_a_transaction_to_sign(client: TestClient) -> None:
    quote = play.ask(client)
    response = client.post("/v1/swaps", json=play.order(quote))
    swap = response.json()
    assert response.headers["Location"] == f"/v1/swaps/{swap['id']}"
    assert (swap["status"], swap["next"]) == ("await_lock", "lock")
    source, destination = swap["source"]["terms"], swap["destination"]["terms"]
    assert (source["sender"], source["recipient"]) == ("alice", "bridge")
    assert (destination["sender"], destination["recipient"]) == ("bridge", "alice2")
    assert source["money"] == quote["from"]
    assert destination["money"] == quote["to"]
    assert source["deadline"] == quote["source_deadline"]
    assert swap["transaction"]["payload"]["amount"] == quote["from"]["amount"]


def test_the_same_idempotency_key_gives_the_same_swap_and_refuses_another_request(client: TestClient) -> None:
    quote = play.ask(client)
    headers = {"Idempotency-Key": "0123456789", **AUTH}
    first = client.post("/v1/swaps", json=play.order(quote), headers=headers)
    again = client.post("/v1/swaps", json=play.order(quote), headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    other = client.post("/v1/swaps", json=play.order(play.ask(client), 2), headers=headers)
    assert problem(other) == "idempotency-conflict"


@pytest.mark.parametrize("change", [{"contract": "0xnew"}, {"account": "another"}])
@pytest.mark.parametrize("chain", [instances.ETHEREUM, instances.ZION])
def test_a_quote_with_an_old_contract_or_account_is_no_longer_taken(
    client: TestClient, store: Store, chain: ChainId, change: dict[str, str]
) -> None:
    quote = play.ask(client)
    with store.transaction() as tx:
        status = tx.chains.get(chain)
        assert status is not None
        tx.chains.put(msgspec.structs.replace(status, **change))
    assert problem(client.post("/v1/swaps", json=play.order(quote))) == "quote-gone"
    with store.transaction() as tx:
        tx.chains.put(status)
    assert client.post("/v1/swaps", json=play.order(quote)).status_code == 201


def test_a_hashlock_is_good_for_one_swap_only(client: TestClient) -> None:
    play.place(client, 1)
    response = client.post("/v1/swaps", json=play.order(play.ask(client), 1))
    assert problem(response) == "hashlock-used"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"hashlock": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}, "invalid-request"),
        ({"hashlock": "12"}, "invalid-request"),
        ({"refund_address": "not an address"}, "invalid-request"),
        ({"refund_address": "1-2"}, "bad-address"),
        ({"recipient": "bridge"}, "bad-address"),
        ({"quote_id": "0" * 32}, "not-found"),
        ({"preimage": "00" * 32}, "invalid-request"),
    ],
)
def test_a_wrong_order_is_refused_and_leaves_the_quote_open(
    client: TestClient, change: dict[str, str], kind: str
) -> None:
    quote = play.ask(client)
    assert problem(client.post("/v1/swaps", json=play.order(quote) | change)) == kind
    assert client.post("/v1/swaps", json=play.order(quote)).status_code == 201


def test_the_preimage_is_taken_only_when_it_is_safe_for_the_user_to_give_it(
    client: TestClient, store: Store
) -> None:
    swap = play.place(client, gasless=True)
    path = f"/v1/swaps/{swap['id']}/claim"
    right = {"preimage": play.preimage().reveal().hex()}
    assert problem(client.post(path, json=right)) == "wrong-state"
    play.lock(store, swap["id"], LegRole.SOURCE)
    assert problem(client.post(path, json=right)) == "wrong-state"
    play.lock(store, swap["id"], LegRole.DESTINATION)
    assert problem(client.post(path, json={"preimage": "00" * 32})) == "wrong-preimage"
    taken = client.post(path, json=right)
    assert taken.status_code == 200
    assert taken.json()["secret_shared"] is True
    assert taken.json()["status"] == "claiming"
    assert client.post(path, json=right).status_code == 200  # again: no harm
    with store.reading() as tx:
        assert tx.secrets.get(play.preimage().hashlock()) == play.preimage()
        purposes = [(intent.leg, intent.purpose.value) for intent in tx.intents.of_swap(swap["id"])]
    assert ("destination", "claim") in purposes


def test_the_preimage_is_not_taken_after_the_reveal_deadline(
    client: TestClient, locked: dict[str, Any], store: Store, clock: Clock
) -> None:
    with store.transaction() as tx:
        play.put_status(tx, instances.ZION, clock, time=locked["reveal_by"]["unix"] + 1)
    late = client.post(f"/v1/swaps/{locked['id']}/claim", json={"preimage": play.preimage().reveal().hex()})
    assert problem(late) == "wrong-state"
    assert "keep the secret" in late.json()["hint"]
    assert client.get(f"/v1/swaps/{locked['id']}").json()["next"] == "wait"


def test_the_relayer_claims_only_for_those_who_were_quoted_for_it(client: TestClient, store: Store) -> None:
    swap = play.place(client)
    play.lock_both(store, swap["id"])
    claim = client.post(f"/v1/swaps/{swap['id']}/claim", json={"preimage": play.preimage().reveal().hex()})
    assert problem(claim) == "wrong-state"
    with store.reading() as tx:
        assert not tx.secrets.known(play.preimage().hashlock())


def test_a_swap_not_locked_yet_can_be_called_off(client: TestClient, store: Store) -> None:
    swap = play.place(client)
    answer = client.post(f"/v1/swaps/{swap['id']}/refund", json={}).json()
    assert answer["cooperative"] is True
    assert answer["transactions"] == []
    with store.reading() as tx:
        assert tx.reservations.outstanding(ZION) == 0


def test_a_refund_is_cooperative_before_the_counterlock_and_signed_by_the_user_after(
    client: TestClient, store: Store
) -> None:
    early = play.place(client, 1)
    play.lock(store, early["id"], LegRole.SOURCE)
    answer = client.post(f"/v1/swaps/{early['id']}/refund", json={}).json()
    assert answer["cooperative"] is True
    late = play.place(client, 2)
    play.lock_both(store, late["id"])
    answer = client.post(f"/v1/swaps/{late['id']}/refund", json={}).json()
    assert answer["cooperative"] is False
    assert answer["not_before"] == late["source"]["terms"]["deadline"]
    assert [tx["purpose"] for tx in answer["transactions"]] == ["refund"]


def test_swaps_are_listed_for_their_own_token_page_by_page(client: TestClient, clock: Clock) -> None:
    made = []
    for number in range(3):
        made.append(play.place(client, number)["id"])
        clock.pass_seconds(1 if number else 0)
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page = client.get(
            "/v1/swaps", params={"limit": 1} | ({"cursor": cursor} if cursor else {}), headers=AUTH
        )
        seen += [swap["id"] for swap in page.json()["swaps"]]
        cursor = page.json()["next_cursor"]
    assert cursor is None
    assert sorted(seen) == sorted(made)
    stranger = client.get("/v1/swaps", headers={"Authorization": "Bearer " + "x" * 40})
    assert stranger.json()["swaps"] == []
    assert problem(client.get("/v1/swaps")) == "unauthorized"
    assert problem(client.get("/v1/swaps", headers={"Authorization": "Bearer short"})) == "unauthorized"
    assert problem(client.get("/v1/swaps?cursor=!!!", headers=AUTH)) == "invalid-request"
    assert problem(client.get("/v1/swaps?unknown=1", headers=AUTH)) == "invalid-request"


def test_the_next_step_follows_the_swap(client: TestClient, store: Store, clock: Clock) -> None:
    swap = play.place(client)

    def step() -> str:
        return str(client.get(f"/v1/swaps/{swap['id']}").json()["next"])

    assert step() == "lock"
    play.lock(store, swap["id"], LegRole.SOURCE)
    assert step() == "wait"
    play.lock(store, swap["id"], LegRole.DESTINATION)
    assert step() == "claim"
    with store.transaction() as tx:
        play.put_status(tx, instances.ZION, clock, time=swap["source"]["terms"]["deadline"]["unix"])
        play.put_status(tx, instances.ETHEREUM, clock, time=swap["source"]["terms"]["deadline"]["unix"])
    assert step() in {"wait", "refund"}


def sse(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


def test_events_replay_from_any_sequence_number(client: TestClient, store: Store) -> None:
    swap = play.place(client)
    play.claim_both(store, swap["id"])
    path = f"/v1/swaps/{swap['id']}/events"
    every = sse(client.get(path).text)  # ends by itself: the swap has ended
    assert every[0]["kind"] == "Accepted"
    assert every[-1]["status"] == "completed"
    assert [event["seq"] for event in every] == sorted({event["seq"] for event in every})
    middle = every[4]["seq"]
    assert sse(client.get(path, params={"after": middle}).text) == every[5:]
    assert sse(client.get(path, headers={"Last-Event-ID": str(middle)}).text) == every[5:]


def test_a_stream_follows_what_happens_after_the_replay(client: TestClient, store: Store) -> None:
    swap = play.place(client)
    other = play.place(client, 2)
    with client.websocket_connect("/v1/ws") as socket:
        socket.send_text(json.dumps({"op": "subscribe", "swap_id": swap["id"]}))
        assert socket.receive_json() == {"op": "subscribed", "swap_id": swap["id"]}
        assert socket.receive_json()["event"]["kind"] == "Accepted"
        play.lock(store, other["id"], LegRole.SOURCE)  # not subscribed
        play.lock(store, swap["id"], LegRole.SOURCE)
        kinds = [socket.receive_json()["event"] for _ in range(2)]
        assert [event["kind"] for event in kinds] == ["LockSeen", "LockFinal"]
        assert {event["swap_id"] for event in kinds} == {swap["id"]}


@pytest.mark.parametrize(
    "message", ["", "{", '{"op": "dance"}', '{"op": "subscribe", "swap_id": "x"}', "y" * 2000]
)
def test_a_websocket_answers_nonsense_with_a_problem_and_stays_open(client: TestClient, message: str) -> None:
    with client.websocket_connect("/v1/ws") as socket:
        socket.send_text(message)
        assert socket.receive_json()["problem"]["hint"]
        socket.send_text(json.dumps({"op": "subscribe", "swap_id": "0" * 32}))
        assert socket.receive_json()["problem"]["type"].endswith("not-found")


def test_a_web_page_of_another_origin_gets_no_websocket(client: TestClient) -> None:
    foreign = {"Origin": "https://elsewhere.example"}
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/v1/ws", headers=foreign):
        pass
    assert refused.value.code == 1008


def test_operators_need_a_key_with_the_scope(client: TestClient) -> None:
    assert problem(client.get("/v1/admin/inventory")) == "unauthorized"
    viewer = {"Authorization": f"Bearer {play.READ_ONLY_KEY}"}
    assert client.get("/v1/admin/inventory", headers=viewer).status_code == 200
    refused = client.put("/v1/admin/chains/zion/pause", json={}, headers=viewer)
    assert problem(refused) == "forbidden"


def test_a_pause_stops_sales_is_told_and_is_remembered(client: TestClient) -> None:
    quote = play.ask(client)
    paused = client.put("/v1/admin/chains/zion/pause", json={"note": "maintenance"}, headers=ADMIN)
    assert paused.json() == {"paused": ["zion"]}
    assert (
        problem(client.post("/v1/quotes", json={"from": ETH, "to": ZION, "amount": "1" + "0" * 18}))
        == "paused"
    )
    assert problem(client.post("/v1/swaps", json=play.order(quote))) == "paused"
    paused_chains = [chain["chain"] for chain in client.get("/v1/chains").json()["chains"] if chain["paused"]]
    assert paused_chains == ["zion"]
    unknown = client.put("/v1/admin/chains/bitcoin/pause", json={"note": "?"}, headers=ADMIN)
    assert problem(unknown) == "not-found"
    assert client.delete("/v1/admin/chains/zion/pause", headers=ADMIN).json() == {"paused": []}
    pair = f"/v1/admin/pairs/{ETH}/{ZION}/pause"
    client.put(pair, json={}, headers=ADMIN)
    assert (
        problem(client.post("/v1/quotes", json={"from": ETH, "to": ZION, "amount": "1" + "0" * 18}))
        == "paused"
    )
    assert (
        client.post("/v1/quotes", json={"from": ZION, "to": ETH, "amount": "10000000000"}).status_code == 201
    )
    client.delete(pair, headers=ADMIN)
    trail = client.get("/v1/admin/audit", params={"limit": 3}, headers=ADMIN).json()
    assert [entry["verb"] for entry in trail["entries"]] == ["resume", "pause", "resume"]
    assert trail["next_cursor"] is not None
    rest = client.get("/v1/admin/audit", params={"cursor": trail["next_cursor"]}, headers=ADMIN).json()
    assert [(entry["by"], entry["subject"], entry["detail"]) for entry in rest["entries"]] == [
        ("ops", "zion", "maintenance")
    ]


def test_an_operators_retry_is_audited(client: TestClient) -> None:
    swap = play.place(client)
    answer = client.post(f"/v1/admin/swaps/{swap['id']}/retry", json={"note": "why not"}, headers=ADMIN)
    assert answer.status_code == 200
    trail = client.get("/v1/admin/audit", headers=ADMIN).json()["entries"]
    assert [(entry["verb"], entry["subject"]) for entry in trail] == [("retry", swap["id"])]


@pytest.fixture
def log_lines() -> Iterator[list[MutableMapping[str, Any]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def test_no_secret_and_no_swap_id_reaches_a_log_or_an_answer(
    log_lines: list[MutableMapping[str, Any]],
    client: TestClient,
    store: Store,
    capfd: pytest.CaptureFixture[str],
) -> None:
    secret = play.preimage().reveal().hex()
    swap = play.place(client, gasless=True)
    path = f"/v1/swaps/{swap['id']}"
    answers = [
        client.post(f"{path}/claim", json={"preimage": secret}),
        client.post(f"{path}/claim", json={"preimage": secret, "also": 1}),
        client.post(f"{path}/claim", json={"preimage": secret + "zz"}),
        client.post(f"{path}/claim", json={"preimage": [secret]}),
        client.post(
            f"{path}/claim", content=f'{{"preimage": "{secret}"', headers={"Content-Type": "application/json"}
        ),
        client.post(f"{path}/refund", json={"preimage": secret}),
        client.post("/v1/quotes", json={"from": secret, "to": secret, "amount": secret}),
        client.get(f"/v1/swaps/{secret}"),
        client.get(f"/v1/swaps?cursor={secret}", headers=AUTH),
    ]
    play.lock_both(store, swap["id"])
    answers.append(client.post(f"{path}/claim", json={"preimage": secret}))
    with store.reading() as tx:
        stored = tx.swaps.get(swap["id"])
    assert stored is not None
    block = stored.swap.destination.lock_block
    assert block is not None
    play.happen(
        store,
        swap["id"],
        ClaimSeen(LegRole.DESTINATION, LockId("lock-destination"), TxId("tx"), block, play.preimage()),
        LockFinal(LegRole.SOURCE, LockId("lock-source")),
    )
    answers += [
        client.get(path),
        client.get(f"{path}/events", params={"follow": "false"}),
        client.get("/v1/swaps", headers=AUTH),
        client.get("/v1/admin/swaps", headers=ADMIN),
        client.get("/v1/admin/audit", headers=ADMIN),
        client.get("/metrics"),
        client.get("/openapi.json"),
    ]
    assert answers[-1].status_code == 200
    for answer in answers:
        assert secret not in answer.text.lower(), answer.url
        assert secret not in str(answer.headers).lower()
    out, err = capfd.readouterr()
    for logged in (json.dumps(log_lines, default=str), out, err):
        assert secret not in logged.lower()
        assert swap["id"] not in logged
    assert len(log_lines) > 10
