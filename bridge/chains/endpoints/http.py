"""One HTTP endpoint: JSON there and back in time; failures are `PortUnavailableError`, without the URL."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from bridge.chains.errors import PortUnavailableError


class HttpEndpoint:
    """One URL, connections kept alive; bound to the event loop that first uses it.

    `name` is what messages call it ("the Solana RPC"). URLs of hosted endpoints contain API keys: neither
    messages nor `repr` show them. `timeout` is seconds for one exchange, its one retry included.
    """

    def __init__(self, url: str, timeout: float, name: str) -> None:
        self._url = url
        self._timeout = timeout
        self._name = name
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"HttpEndpoint({self._name}, <url redacted>)"

    async def post(self, body: Any) -> Any:
        """Send `body` as JSON and return the JSON of the answer.

        Raises `PortUnavailableError` without a connection, without an answer in time, for an HTTP status of
        400 or above, and for an answer that is not JSON.
        """
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._exchange(body)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    # A kept-alive connection that the server has closed shows only when it is used. All we
                    # ask may be asked again (sending the same signed bytes included): one retry is safe.
                    return await self._exchange(body)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            # Without the error as its cause: its own words contain the URL.
            raise self._unavailable(error) from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(self, body: Any) -> Any:
        if self._session is None or self._session.closed:
            timeout = aiohttp.ClientTimeout(total=self._timeout)
            self._session = aiohttp.ClientSession(timeout=timeout, raise_for_status=True)
        async with self._session.post(self._url, json=body) as response:
            return await response.json(content_type=None)

    def _unavailable(self, error: Exception) -> PortUnavailableError:
        if isinstance(error, TimeoutError):
            return PortUnavailableError(
                f"{self._name} did not answer in time", "is the node overloaded or far away?"
            )
        if isinstance(error, aiohttp.ClientResponseError):
            return PortUnavailableError(
                f"{self._name} answered HTTP {error.status}", "check URL, key and quota"
            )
        if isinstance(error, aiohttp.ClientError | OSError):
            kind = type(error).__name__
            return PortUnavailableError(
                f"{self._name} cannot be reached ({kind})", "is the node up and the URL right?"
            )
        return PortUnavailableError(f"{self._name} answered with something other than JSON", "check the URL")
