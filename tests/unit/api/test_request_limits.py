"""Limits, headers, and what is refused before any endpoint is reached."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from bridge.api.limits import RateLimiter, client_address
from bridge.store import Store, StoreError
from tests import instances
from tests.unit.api import play
from tests.unit.api.play import ETH, ZION, Clock, problem


@pytest.mark.parametrize("overrides", [{"api": {"requests_per_minute": 5, "quotes_per_minute": 2}}])
def test_a_client_that_asks_too_often_is_told_when_to_come_again(client: TestClient) -> None:
    body = {"from": ETH, "to": ZION, "amount": str(10**18)}
    for left in (1, 0):
        answer = client.post("/v1/quotes", json=body)
        assert answer.headers["RateLimit"].startswith(f'"quotes";r={left}')
    refused = client.post("/v1/quotes", json=body)
    assert problem(refused) == "rate-limited"
    assert int(refused.headers["Retry-After"]) >= 1
    assert client.get("/v1/keys").status_code == 200
    assert client.get("/v1/keys").status_code == 200
    assert client.get("/v1/keys").status_code == 429
    assert client.get("/healthz").status_code == 200  # limited by itself


def test_buckets_fill_again_with_time() -> None:
    now = 0.0
    limiter = RateLimiter("test", 60, lambda: now)
    assert all(limiter.take("a").allowed for _ in range(60))
    assert not limiter.take("a").allowed
    assert limiter.take("b").allowed
    now = 1.0
    assert limiter.take("a").allowed
    assert not limiter.take("a").allowed


def test_only_trusted_proxies_say_who_the_client_is() -> None:
    proxies = (ipaddress.ip_network("10.0.0.1"),)
    assert client_address("10.0.0.1", ["1.2.3.4"], proxies) == "1.2.3.4"
    assert client_address("10.0.0.1", ["6.6.6.6", "1.2.3.4"], proxies) == "1.2.3.4"
    assert client_address("9.9.9.9", ["1.2.3.4"], proxies) == "9.9.9.9"
    assert client_address("2001:db8::1", [], proxies) == client_address("2001:db8::2", [], proxies)
    assert client_address("10.0.0.1", ["nonsense"], proxies) == "10.0.0.1"


@pytest.mark.parametrize(
    ("content", "headers", "kind"),
    [
        (b"{" + b" " * 20_000, {"Content-Type": "application/json"}, "body-too-large"),
        (b"{}", {"Content-Type": "text/plain"}, "unsupported-media-type"),
        (b"{", {"Content-Type": "application/json"}, "malformed"),
        (b"[1]", {"Content-Type": "application/json"}, "invalid-request"),
        (b"\xff\xfe", {"Content-Type": "application/json"}, "malformed"),
        (b"[" * 10_000, {"Content-Type": "application/json"}, "malformed"),
        (b"", {"Content-Type": "application/json"}, "invalid-request"),
    ],
)
def test_bodies_that_cannot_be_read_are_refused(
    client: TestClient, content: bytes, headers: dict[str, str], kind: str
) -> None:
    assert problem(client.post("/v1/quotes", content=content, headers=headers)) == kind


def test_a_body_in_pieces_is_counted_too(client: TestClient) -> None:
    pieces = (b" " * 1_000 for _ in range(100))
    answer = client.post("/v1/quotes", content=pieces, headers={"Content-Type": "application/json"})
    assert problem(answer) == "body-too-large"


def test_huge_headers_are_refused(client: TestClient) -> None:
    assert problem(client.get("/v1/keys", headers={"X-Long": "a" * 20_000})) == "headers-too-large"


def test_unknown_paths_and_methods_are_problems(client: TestClient) -> None:
    assert problem(client.get("/nowhere")) == "not-found"
    refused = client.patch("/v1/quotes")
    assert problem(refused) == "method-not-allowed"
    assert "POST" in refused.headers["Allow"]


def test_every_answer_has_security_headers_and_an_id(client: TestClient) -> None:
    for path in ("/v1/keys", "/nowhere", "/healthz"):
        headers = client.get(path, headers={"X-Request-Id": "my-request-1"}).headers
        assert headers["X-Request-Id"] == "my-request-1"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Cache-Control"] == "no-store"
        assert "server" not in headers
    assert client.get("/healthz", headers={"X-Request-Id": "x\ty"}).headers["X-Request-Id"] != "x\ty"


def test_other_origins_get_nothing_by_default(client: TestClient) -> None:
    headers = client.get("/v1/keys", headers={"Origin": "https://elsewhere.example"}).headers
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("overrides", [{"api": {"cors_origins": ["https://app.example"]}}])
def test_a_configured_origin_may_call(client: TestClient) -> None:
    headers = client.get("/v1/keys", headers={"Origin": "https://app.example"}).headers
    assert headers["access-control-allow-origin"] == "https://app.example"
    preflight = client.options(
        "/v1/quotes",
        headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"},
    )
    assert preflight.status_code == 200


@pytest.mark.parametrize("overrides", [{"api": {"metrics": "key"}}])
def test_metrics_can_be_kept_for_operators(client: TestClient) -> None:
    assert problem(client.get("/metrics")) == "unauthorized"
    assert client.get("/metrics", headers=play.ADMIN).status_code == 200


def test_metrics_tell_of_requests_stages_swaps_and_chains(client: TestClient, store: Store) -> None:
    swap = play.place(client)
    play.claim_both(store, swap["id"])
    client.get(f"/v1/swaps/{swap['id']}/events")
    text = client.get("/metrics").text
    assert 'rainbow_swaps{status="completed"} 1.0' in text
    assert 'rainbow_chain_healthy{chain="zion"} 1.0' in text
    assert 'route="/v1/swaps/{swap_id}/events"' in text
    assert "rainbow_store_up 1.0" in text
    assert "rainbow_swap_stage_seconds" in text
    assert 'rainbow_inventory_units{asset="zion:ZION",kind="balance"}' in text


def test_readiness_names_what_is_missing(client: TestClient, store: Store, clock: Clock) -> None:
    assert client.get("/readyz").status_code == 200
    with store.transaction() as tx:
        play.put_status(tx, instances.ZION, clock, healthy=False, detail="RPC down")
    answer = client.get("/readyz")
    assert problem(answer) == "not-ready"
    assert answer.json()["errors"][0]["pointer"] == "zion"


@pytest.mark.parametrize(
    "overrides",
    [
        {
            "assets": [
                {"chain": "ethereum", "symbol": "ETH", "decimals": 18},
                {"chain": "zion", "symbol": "ZION", "decimals": 8},
                {"chain": "ethereum", "symbol": "OLD", "decimals": 18, "contract": "0x" + "11" * 20},
            ],
            "pairs": [
                {"from": ETH, "to": ZION, "min": "0.01", "max": "5"},
                {"from": "ethereum:OLD", "to": ZION, "min": "1", "max": "5", "enabled": False},
            ],
        }
    ],
)
def test_a_pair_that_is_switched_off_needs_no_price(client: TestClient) -> None:
    assert client.get("/readyz").status_code == 200


def test_a_failing_database_is_a_503_with_a_hint_and_a_mistake_a_500_without_details(
    client: TestClient, services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("disk full", "free some space")

    def break_down(*_: object) -> None:
        raise RuntimeError("internal secret detail")

    monkeypatch.setattr(type(services.quotes), "make", refuse)
    body = {"from": ETH, "to": ZION, "amount": str(10**18)}
    assert problem(client.post("/v1/quotes", json=body)) == "busy"
    monkeypatch.setattr(type(services.quotes), "make", break_down)
    broken = client.post("/v1/quotes", json=body)
    assert problem(broken) == "internal"
    assert "secret detail" not in broken.text


@pytest.mark.parametrize("overrides", [{"api": {"requests_per_minute": 3}}])
def test_websockets_and_their_messages_count_like_requests(client: TestClient) -> None:
    with client.websocket_connect("/v1/ws") as socket:
        for kind in ("invalid-request", "invalid-request", "rate-limited"):
            socket.send_text("{}")
            assert socket.receive_json()["problem"]["type"].endswith(kind)
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/ws"):
        pass
    assert client.get("/v1/keys").status_code == 429


@pytest.mark.parametrize("overrides", [{"api": {"stream_seconds": 0.2}}])
def test_a_websocket_ends_when_its_time_is_over(client: TestClient) -> None:
    with client.websocket_connect("/v1/ws") as socket, pytest.raises(WebSocketDisconnect) as ended:
        socket.receive_text()
    assert ended.value.code == 1001


@pytest.mark.parametrize(
    ("overrides", "allowed"),
    [
        ({"api": {"cors_origins": ["*"]}}, True),
        ({"api": {"cors_origins": ["https://a.example"]}}, False),
        ({}, False),
    ],
)
def test_an_origin_opens_the_websocket_only_if_it_is_allowed(client: TestClient, allowed: bool) -> None:
    headers = {"origin": "https://x.example"}
    if allowed:
        with client.websocket_connect("/v1/ws", headers=headers) as socket:
            socket.send_text("{}")
            assert socket.receive_json()["op"] == "error"
        return
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/ws", headers=headers):
        pass


def test_proxies_may_be_networks_and_name_ports() -> None:
    proxies = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8:1::/48"))
    assert client_address("10.1.2.3", ["5.5.5.5:123"], proxies) == "5.5.5.5"
    assert client_address("10.1.2.3", ["5.5.5.5", "10.9.9.9"], proxies) == "5.5.5.5"
    assert client_address("2001:db8:1::7", ["[2001:db8:2::1]:80"], proxies) == "2001:db8:2::/64"
    assert client_address("::ffff:10.1.2.3", ["5.5.5.5"], proxies) == "5.5.5.5"
    assert client_address("11.1.2.3", ["5.5.5.5"], proxies) == "11.1.2.3"
