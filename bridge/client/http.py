"""HTTP/1.1 to the bridge over asyncio: one connection for each request, no redirects, no second tries.

A command of a user's asks two or three questions and ends, and loading httpx took it half its time. h11 reads
and writes the protocol. Where the environment names a proxy, httpx is loaded after all and does everything
(`bridge.client.proxied`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol
from urllib.parse import SplitResult, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import h11
import msgspec

from bridge.client.errors import BridgeUnreachableError

MAX_ANSWER_BYTES = 16 << 20
"""More than any answer of the API has; a stream may go on for longer."""
READ_BYTES = 1 << 16
CLOSE_SECONDS = 1.0


class HttpRequest(msgspec.Struct, frozen=True):
    """One request; `path` is below the bridge's address. `read_timeout`: seconds between two parts."""

    method: str
    path: str
    query: Mapping[str, str | int] = {}
    body: bytes = b""
    headers: Mapping[str, str] = {}
    read_timeout: float = 15.0


class HttpResponse:
    """An answer whose body is still to be read, once. Header names are in lower case."""

    def __init__(self, status: int, headers: Mapping[str, str], parts: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self._parts = parts

    async def body(self) -> bytes:
        """Read the whole body. Raises `BridgeUnreachableError`, also for one larger than
        `MAX_ANSWER_BYTES`."""
        body = bytearray()
        async for part in self._parts:
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                raise BridgeUnreachableError(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)

    async def lines(self) -> AsyncIterator[str]:
        """Yield the body's lines as they arrive, without their ends. Raises `BridgeUnreachableError`."""
        rest = b""
        async for part in self._parts:
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r").decode(errors="replace")
            if len(rest) > MAX_ANSWER_BYTES:
                raise BridgeUnreachableError(f"a line of the answer has more than {MAX_ANSWER_BYTES} bytes")
        if rest:
            yield rest.decode(errors="replace")


class Transport(Protocol):
    """What carries requests to one bridge."""

    def send(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
        """Send a request; the answer can be read inside the context. Raises `BridgeUnreachableError`."""
        ...

    async def close(self) -> None:
        """Release what is held open."""
        ...


def open_transport(url: str) -> Transport:
    """Return the transport to the bridge at `url`. Nothing is contacted before the first request.

    Raises `BridgeUnreachableError` for an address that no bridge can have.
    """
    address = checked_address(url)
    proxies = getproxies()
    if (address.scheme in proxies or "all" in proxies) and not proxy_bypass(address.hostname or ""):
        from bridge.client.proxied import HttpxTransport

        return HttpxTransport(url)
    return DirectTransport(address)


def checked_address(url: str) -> SplitResult:
    """Split the address of a bridge. Raises `BridgeUnreachableError`, saying what is wrong with it."""
    hint = "write the whole address of the bridge, e.g. http://127.0.0.1:8080"
    try:
        address = urlsplit(url)
        port = address.port
    except ValueError:
        raise BridgeUnreachableError(f"{url!r} is not an address of a bridge", hint) from None
    if address.scheme not in {"http", "https"}:
        raise BridgeUnreachableError(f"{url!r} does not begin with http:// or https://", hint)
    if not address.hostname or port == 0:
        raise BridgeUnreachableError(f"{url!r} is not an address of a bridge", hint)
    if address.username or address.password:
        raise BridgeUnreachableError("the address of the bridge has a user or a password in it", hint)
    return address


class DirectTransport:
    """Connects to the bridge itself."""

    def __init__(self, address: SplitResult) -> None:
        self._host = (address.hostname or "").encode("idna").decode()
        self._port = address.port or (443 if address.scheme == "https" else 80)
        self._prefix = address.path.rstrip("/")
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._host_header = host if address.port is None else f"{host}:{address.port}"
        self._tls = _tls_context() if address.scheme == "https" else None

    async def close(self) -> None:
        """Nothing is held open between requests."""

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncIterator[HttpResponse]:
        """See `Transport`."""
        with _translated(request.read_timeout):
            async with asyncio.timeout(request.read_timeout):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            exchange = _Exchange(reader, writer, request.read_timeout)
            await exchange.write(self._encoded(request), request.body)
            yield await exchange.response()
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await writer.wait_closed()

    def _encoded(self, request: HttpRequest) -> h11.Request:
        query = f"?{urlencode(request.query)}" if request.query else ""
        headers = [
            ("Host", self._host_header),
            ("Accept", "*/*"),
            ("Connection", "close"),
            ("User-Agent", "rainbow"),
            *request.headers.items(),
        ]
        if request.body:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(request.body)))]
        return h11.Request(
            method=request.method, target=f"{self._prefix}{request.path}{query}", headers=headers
        )


class _Exchange:
    """One request and its response on one connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, read_timeout: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._read_timeout = read_timeout
        self._protocol = h11.Connection(h11.CLIENT)

    async def write(self, head: h11.Request, body: bytes) -> None:
        for event in (head, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()):
            self._writer.write(self._protocol.send(event) or b"")
        with _translated(self._read_timeout):
            async with asyncio.timeout(self._read_timeout):
                await self._writer.drain()

    async def response(self) -> HttpResponse:
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
                return HttpResponse(event.status_code, headers, self._parts())

    async def _parts(self) -> AsyncIterator[bytes]:
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    async def _next(self) -> h11.Event:
        with _translated(self._read_timeout):
            while True:
                event = self._protocol.next_event()
                if isinstance(event, h11.Event) and not isinstance(event, h11.ConnectionClosed):
                    return event
                if event is not h11.NEED_DATA:
                    raise h11.RemoteProtocolError("the connection closed early")
                async with asyncio.timeout(self._read_timeout):
                    self._protocol.receive_data(await self._reader.read(READ_BYTES))


@contextlib.contextmanager
def _translated(seconds: float) -> Iterator[None]:
    """Turn what can go wrong with a connection into `BridgeUnreachableError`, without anything of the
    request."""
    try:
        yield
    except TimeoutError:
        raise BridgeUnreachableError(f"the bridge did not answer within {seconds:g} s") from None
    except h11.RemoteProtocolError:
        raise BridgeUnreachableError(
            "what answers at this address does not speak HTTP, or broke off"
        ) from None
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise BridgeUnreachableError(f"the bridge did not answer ({reason})") from None


def _tls_context() -> ssl.SSLContext:
    """Trust the certificates that SSL_CERT_FILE or SSL_CERT_DIR name, or else Mozilla's, as httpx does."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context(
            cafile=os.environ.get("SSL_CERT_FILE"), capath=os.environ.get("SSL_CERT_DIR")
        )
    import certifi

    return ssl.create_default_context(cafile=certifi.where())
