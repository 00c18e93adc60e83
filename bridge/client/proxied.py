"""HTTP to the bridge by way of httpx, which knows proxies. Imported only where the environment names one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from bridge.client.errors import BridgeUnreachableError
from bridge.client.http import HttpRequest, HttpResponse


class HttpxTransport:
    """Sends requests with httpx, over its own transport or another (an application in this process)."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._http = httpx.AsyncClient(base_url=url, transport=transport, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncIterator[HttpResponse]:
        """See `bridge.client.http.Transport`."""
        headers = dict(request.headers)
        if request.body:
            headers["Content-Type"] = "application/json"
        sending = self._http.stream(
            request.method,
            request.path,
            params=dict(request.query),
            content=request.body,
            headers=headers,
            timeout=request.read_timeout,
        )
        try:
            async with sending as response:
                yield HttpResponse(response.status_code, response.headers, response.aiter_bytes())
        except httpx.HTTPError as error:
            # Not the error's own text: it may hold the request.
            raise BridgeUnreachableError(f"the bridge did not answer ({type(error).__name__})") from None
