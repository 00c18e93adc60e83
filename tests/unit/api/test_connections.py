"""Connections that send too little, too slowly or too much, and tasks that fail, on a real socket."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import pytest
import uvicorn
from fastapi import FastAPI

from bridge.api.background import Background
from bridge.api.connections import HEAD_BYTES, ConnectionLimits, OpenConnections, guarded_protocol

HEAD_SECONDS = 0.4


@contextmanager
def served(app: FastAPI, limits: ConnectionLimits) -> Iterator[int]:
    """Serve the application as `rainbow api` does, in a thread; yields its port."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_config=None,
            access_log=False,
            http=guarded_protocol(OpenConnections(limits)),
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


def limits(total: int = 100, per_peer: int = 100) -> ConnectionLimits:
    return ConnectionLimits(total, per_peer, head_seconds=HEAD_SECONDS)


def get(port: int, path: str = "/v1/keys", method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def opened(port: int, text: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(text)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Wait for the server to close a connection without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("text", [b"", b"GET /v1/keys HTTP/1.1\r\nX: "], ids=["nothing", "half a head"])
def test_a_connection_that_sends_no_whole_head_is_closed(app: FastAPI, text: bytes) -> None:
    with served(app, limits()) as port, opened(port, text) as connection:
        began = time.monotonic()
        assert is_closed(connection)
        assert time.monotonic() - began < 10 * HEAD_SECONDS
        assert get(port)[0] == 200


def test_the_second_request_of_a_connection_must_come_whole_in_time_too(app: FastAPI) -> None:
    with served(app, limits()) as port, opened(port) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        time.sleep(2 * HEAD_SECONDS)  # to idle between requests is allowed
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /he")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"alth")
        assert is_closed(connection)


def test_an_endless_head_is_refused_while_it_arrives(app: FastAPI) -> None:
    with served(app, limits()) as port, opened(port, b"GET /v1/keys HTTP/1.1\r\nX: ") as connection:
        sent = 0
        with pytest.raises(OSError):  # noqa: PT011, PT012 - reset or broken pipe
            while sent < 100 * HEAD_BYTES:
                connection.sendall(b"a" * 4_096)
                sent += 4_096
                time.sleep(0.001)
        assert get(port)[0] == 200


def test_one_peer_cannot_take_all_connections(app: FastAPI) -> None:
    with served(app, ConnectionLimits(total=100, per_peer=3)) as port:
        held = [opened(port, b"GET / HTTP/1.1\r\n") for _ in range(3)]
        time.sleep(0.1)
        with opened(port) as one_more:
            assert is_closed(one_more)
        held.pop().close()
        time.sleep(0.1)
        assert get(port)[0] == 200
        for connection in held:
            connection.close()


def test_connections_are_counted_by_network_and_proxies_only_in_the_total() -> None:
    connections = OpenConnections(ConnectionLimits(4, 1, proxies=(ip_network("10.0.0.0/8"),)))
    assert connections.enter("2001:db8::1") is not None
    assert connections.enter("2001:db8::2") is None, "the same /64"
    assert [connections.enter("10.1.1.1") for _ in range(3)] == ["", "", ""]
    assert connections.enter("1.2.3.4") is None, "all are taken"
    connections.leave("")
    assert connections.enter("1.2.3.4") == "1.2.3.4"


def test_head_gets_the_answer_without_its_body(app: FastAPI) -> None:
    with served(app, limits()) as port:
        for path in ("/healthz", "/v1/keys"):
            status, body = get(port, path)
            assert (status, bool(body)) == (200, True)
            assert get(port, path, "HEAD") == (200, b"")
        assert get(port, "/v1/swaps/" + "0" * 32 + "/events", "HEAD")[0] == 405


async def test_a_task_that_fails_is_started_again_and_shown_until_it_is_well() -> None:
    now = 0.0
    runs: list[int] = []

    async def fragile() -> None:
        runs.append(len(runs))
        if len(runs) < 3:
            raise RuntimeError("a foreign error")
        await asyncio.sleep(3600)

    background = Background({"events": fragile}, lambda: now, first_pause=0.001)
    background.start()
    assert background.troubles() == {}
    while len(runs) < 3:
        await asyncio.sleep(0.001)
    assert background.troubles() == {"events": "RuntimeError"}
    now = 60.0
    assert background.troubles() == {}
    await background.stop()
