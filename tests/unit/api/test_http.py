"""The client's own HTTP: it understands servers, and none can make it hang, crash or read too much."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.client import http
from bridge.client.client import BridgeClient
from bridge.client.errors import BridgeRefusedError, BridgeUnreachableError
from bridge.client.http import DirectTransport, HttpRequest, checked_address, open_transport
from bridge.client.proxied import HttpxTransport
from bridge.protocol.types import SwapId

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]

KEY = b'{"algorithm": "ed25519", "public_key": "aa"}'


@asynccontextmanager
async def serving(answer: Handler | bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Answer each request with these bytes, then close; yields the address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line[15:])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ),
                0,
            )
            request = head + await reader.readexactly(length)
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(request, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()


def ok(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def key(url: str, timeout: float = 5.0) -> str:
    async with BridgeClient(url, timeout=timeout) as client:
        return (await client.key()).public_key


@pytest.mark.parametrize(
    "answer",
    [
        ok(KEY),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + KEY[:5] + b"\r\n%x\r\n" % len(KEY[5:])
        + KEY[5:] + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok(KEY),
        b"HTTP/1.0 200 OK\r\n\r\n" + KEY,
    ],
    ids=["length", "chunked", "informational first", "until the connection closes"],
)  # fmt: skip
async def test_every_way_to_send_a_body_is_understood(answer: bytes) -> None:
    async with serving(answer) as url:
        assert await key(url) == "aa"


async def test_a_request_says_what_it_must_and_its_path_lies_below_the_bridges_address() -> None:
    seen: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        writer.write(ok(KEY))

    async with serving(answer) as url, BridgeClient(url + "/deep/", token="t" * 40) as client:
        await client.key()
        with pytest.raises(BridgeUnreachableError, match="not of this version of the API"):
            await client.quote("a:A", "b:B", 5)
        with pytest.raises(BridgeUnreachableError):
            await client.swaps(cursor="a&b")
    first, second, third = seen
    assert first.startswith(b"GET /deep/v1/keys HTTP/1.1\r\n")
    assert b"host: " + url.removeprefix("http://").encode() in first.lower()
    assert b"authorization: bearer " + b"t" * 40 in first.lower()
    assert second.startswith(b"POST /deep/v1/quotes HTTP/1.1\r\n")
    assert b"content-type: application/json" in second.lower()
    assert b'"amount":"5"' in second
    assert third.startswith(b"GET /deep/v1/swaps?limit=20&cursor=a%26b HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["nothing", "another protocol", "broken off", "endless headers", "bad chunk"],
)
async def test_what_is_not_http_or_breaks_off_is_said_to_be(answer: bytes) -> None:
    async with serving(answer) as url:
        with pytest.raises(BridgeUnreachableError, match="does not speak HTTP, or broke off"):
            await key(url)


async def test_a_server_that_does_not_answer_is_not_waited_for_long() -> None:
    async def silent(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async with serving(silent) as url:
        with pytest.raises(BridgeUnreachableError, match=r"did not answer within 0\.1 s"):
            await key(url, timeout=0.1)


async def test_an_answer_larger_than_any_of_ours_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1_000)
    async with serving(ok(b" " * 5_000)) as url:
        with pytest.raises(BridgeUnreachableError, match="more than 1000 bytes"):
            await key(url)


async def test_a_problem_becomes_an_exception_with_its_hint_and_its_parts() -> None:
    body = (
        b'{"type": "urn:rainbow:problem:busy", "title": "t", "status": 503, "detail": "no", "hint": "wait",'
        b' "errors": [{"pointer": "/body/amount", "message": "bad"}]}'
    )
    answer = ok(body, b"Retry-After: 7").replace(b"200 OK", b"503 Busy")
    async with serving(answer) as url:
        with pytest.raises(BridgeRefusedError) as raised:
            await key(url)
    error = raised.value
    assert (error.kind, error.hint, error.retry_after) == ("busy", "wait", 7)
    assert error.problems == ("/body/amount: bad",)


async def test_a_redirect_is_not_followed() -> None:
    async with serving(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    ) as url:
        with pytest.raises(BridgeUnreachableError, match="something answered 302"):
            await key(url)


async def test_events_arrive_one_by_one_while_the_stream_stays_open() -> None:
    event = (
        b'{"seq": %d, "swap_id": "s", "kind": "LockSeen", "status": "await_lock", "source_state": "seen",'
        b' "destination_state": "none", "at": {"rfc3339": "", "unix": 0}}'
    )
    more = asyncio.Event()

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        assert request.startswith(b"GET /v1/swaps/s/events?after=3&follow=true HTTP/1.1")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n")
        writer.write(b"event: swap\r\ndata: " + (event % 4)[:20])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write((event % 4)[20:] + b"\n\n")
        await writer.drain()
        await more.wait()
        writer.write(b"data: " + event % 5 + b"\n\n")

    async with serving(answer) as url, BridgeClient(url) as client:
        numbers = []
        async for arrived in client.events(SwapId("s"), 3):
            numbers.append(arrived.seq)
            more.set()
    assert numbers == [4, 5]


def test_the_environments_proxy_is_used_but_not_for_hosts_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert isinstance(open_transport("http://bridge.example"), DirectTransport)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:3128")
    assert isinstance(open_transport("http://bridge.example"), HttpxTransport)
    monkeypatch.setenv("NO_PROXY", "bridge.example")
    assert isinstance(open_transport("http://bridge.example"), DirectTransport)


async def test_a_proxy_gets_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(ok(KEY)) as proxy:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("http_proxy", proxy)
        assert await key("http://bridge.example") == "aa"  # a host that does not exist


@pytest.mark.parametrize(
    "url", ["bridge.example", "ws://bridge.example", "http://", "http://u:p@b", "http://b:0"]
)
def test_an_address_that_no_bridge_has_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(BridgeUnreachableError):
        checked_address(url)


def certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, signed by itself; returns it and its key."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bridge")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    shown, hidden = directory / "cert.pem", directory / "key.pem"
    shown.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    hidden.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return shown, hidden


async def test_https_is_spoken_only_with_who_has_a_trusted_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, hidden = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, hidden)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    async with serving(ok(KEY), tls=context) as url:
        with pytest.raises(BridgeUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            await key(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(shown))
        assert await key(url) == "aa"
        wrong_name = url.replace("127.0.0.1", "localhost")
        with pytest.raises(BridgeUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            await key(wrong_name)


async def test_nothing_of_a_request_is_in_the_error() -> None:
    request = HttpRequest("POST", "/v1/x", body=b"secret", headers={"Authorization": "Bearer secret"})
    transport = open_transport("http://127.0.0.1:1")
    with pytest.raises(BridgeUnreachableError) as raised:
        async with transport.send(request):
            pass
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(raised.value.__cause__)
