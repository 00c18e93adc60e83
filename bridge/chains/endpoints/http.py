"""One HTTP endpoint: an exchange in time; failures are `EndpointError`s, without the URL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec

from bridge.chains.endpoints.answers import Answer, EndpointError, shortened
from bridge.chains.endpoints.names import redacted

MAX_BODY = 128 * 1024 * 1024
"""Bytes of an answer that are read. A block full of a chain's largest transactions is far below it."""

_OK = frozenset({200})


class HttpAnswer(msgspec.Struct, frozen=True):
    """What came back: the status, the headers by lower-case name, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpEndpoint:
    """One URL, connections kept alive; bound to the event loop that first uses it.

    `name` is what messages call it (see `names.endpoint_names`). URLs of hosted endpoints contain API keys:
    neither messages nor `repr` show them, nor the values of `headers`, which go with every request. `timeout`
    is seconds for one exchange, its one retry included. `on_connect` is called when a connection was opened.
    """

    def __init__(
        self, url: str, timeout: float, name: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self._url = url
        self._timeout = timeout
        self.name = name
        self._headers = dict(headers or {})
        self._session: aiohttp.ClientSession | None = None
        self.on_connect: Callable[[], None] = _nothing

    def __repr__(self) -> str:
        return f"HttpEndpoint({self.name}, <url redacted>)"

    async def post(self, body: Any) -> Any:
        """Send `body` as JSON and return the JSON of the answer.

        Raises `EndpointError` without a connection, without an answer in time, for an HTTP status of 400 or
        above, and for an answer that is not JSON.
        """
        answer = await self.request("POST", json=body)
        return self.json(answer)

    async def request(
        self,
        method: str,
        path: str = "",
        *,
        json: Any = None,
        data: bytes | None = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = _OK,
    ) -> HttpAnswer:
        """Return the answer to one request; `path` is appended to the URL as it is, query included.

        Statuses in `accept` are answers. Others raise `EndpointError`: 429 as rate limited, 413 as too much,
        401 and 403 as permanent, 5xx as passing, the rest as wrong. So does a line that fails and an answer
        that takes too long or is larger than `MAX_BODY`.
        """
        options: dict[str, Any] = {"json": json, "data": data, "params": params, "headers": headers}
        options = {key: value for key, value in options.items() if value is not None}
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    answer = await self._exchange(method, path, options)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    # A kept-alive connection that the server has closed shows only when it is used. All we
                    # ask may be asked again (sending the same signed bytes included): one retry is safe.
                    answer = await self._exchange(method, path, options)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            # Without the error as its cause: its own words contain the URL.
            raise self._unavailable(error) from None
        if answer.status not in accept:
            raise self.refusal(answer)
        return answer

    def json(self, answer: HttpAnswer) -> Any:
        """Return an answer's JSON. Raises `EndpointError` (wrong) when it is none."""
        try:
            return msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise EndpointError(
                f"{self.name} answered with something other than JSON", "check the URL", kind=Answer.WRONG
            ) from None

    def refusal(self, answer: HttpAnswer) -> EndpointError:
        """Return what an HTTP status outside `accept` means, with the endpoint's own words."""
        status = answer.status
        said = shortened(self.redacted(answer.body[:2_000].decode(errors="replace")))
        words = f"{self.name} answered HTTP {status}" + (f": {said}" if said and said[0] != "<" else "")
        retry_after = retry_after_of(answer.headers.get("retry-after", ""))
        if status == 429:
            return EndpointError(
                words, "it limits requests: raise the quota, or add another endpoint",
                kind=Answer.RATE_LIMITED, retry_after=retry_after,
            )  # fmt: skip
        if status == 413:
            return EndpointError(words, "it takes smaller requests only", kind=Answer.TOO_MUCH)
        if status in {401, 403}:
            return EndpointError(words, "check the API key in its URL and the quota of the key")
        if status >= 500 or status == 408:
            hint = "it may pass by itself; see the status page of the service, or use another endpoint"
            return EndpointError(words, hint, retry_after=retry_after)
        return EndpointError(words, "check the URL, its key and quota", kind=Answer.WRONG)

    def redacted(self, words: str) -> str:
        """Return an endpoint's words without what may be a key."""
        words = redacted(words, self._url)
        for value in self._headers.values():
            words = words.replace(value, "…")
        return words

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(self, method: str, path: str, options: dict[str, Any]) -> HttpAnswer:
        if self._session is None or self._session.closed:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(self._connected)
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                headers=self._headers,
                trace_configs=[trace],
            )
        async with self._session.request(method, self._url + path, **options) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(65_536):
                body += chunk
                if len(body) > MAX_BODY:
                    raise EndpointError(
                        f"{self.name} answered more than {MAX_BODY} bytes",
                        "ask for less",
                        kind=Answer.TOO_MUCH,
                    )
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HttpAnswer(response.status, headers, bytes(body))

    async def _connected(self, *_: object) -> None:
        self.on_connect()

    def _unavailable(self, error: Exception) -> EndpointError:
        if isinstance(error, TimeoutError):
            return EndpointError(
                f"{self.name} did not answer in time", "is the node overloaded or far away?", slow=True
            )
        if isinstance(error, aiohttp.ClientPayloadError):
            return EndpointError(
                f"{self.name} broke off its answer", "it may pass by itself; or use another endpoint"
            )
        if isinstance(error, aiohttp.ClientError | OSError):
            kind = type(error).__name__
            return EndpointError(
                f"{self.name} cannot be reached ({kind})", "is the node up and the URL right?"
            )
        return EndpointError(f"{self.name} was asked at a bad URL", "check the URL", kind=Answer.WRONG)


def retry_after_of(text: str, now: float | None = None) -> float | None:
    """Return the seconds of a Retry-After header: a number of them, or a date (RFC 9110, section 10.2.3).
    None for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, date.timestamp() - (time.time() if now is None else now))


def _nothing() -> None:
    return None
