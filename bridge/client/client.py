"""The typed client of the REST API: one method for each call, our models in and out, problems as exceptions.

It only talks. What keeps a user's money safe (the recovery file, checking the bridge's lock on chain, when
to reveal) is in `bridge.client.swap`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import ValidationError

from bridge.api.models import (
    ChainList,
    ClaimTermsView,
    EventView,
    KeyView,
    PairList,
    Problem,
    QuoteView,
    RefundView,
    Side,
    SwapCreated,
    SwapList,
    SwapView,
    UnsignedTxView,
    WalletPurpose,
    Wire,
)
from bridge.protocol.types import Preimage, SwapId

W = TypeVar("W", bound=Wire)

DEFAULT_URL = "http://127.0.0.1:8080"


class BridgeProblem(Exception):
    """The bridge refused a request; `problem` is its RFC 9457 answer."""

    def __init__(self, problem: Problem, retry_after: int | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.hint = problem.hint
        self.retry_after = retry_after

    @property
    def kind(self) -> str:
        """The last part of the problem's type, e.g. `quote-gone`."""
        return self.problem.type.rpartition(":")[2]


class BridgeUnreachable(Exception):
    """The bridge did not answer, or not as a bridge does. What became of the request is unknown."""

    def __init__(self, message: str, hint: str = "check the address of the bridge, and try again") -> None:
        super().__init__(message)
        self.hint = hint


def new_token() -> str:
    """Make a client token: whoever has it can list the swaps made with it."""
    return secrets.token_urlsafe(32)


class BridgeClient:
    """An asynchronous client; use it as a context manager or `close` it."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str = "",
        timeout: float = 15.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(
            base_url=url, headers=headers, timeout=timeout, transport=transport, follow_redirects=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def chains(self) -> ChainList:
        """List the chains."""
        return await self._get("/v1/chains", ChainList)

    async def pairs(self) -> PairList:
        """List the directions on offer."""
        return await self._get("/v1/pairs", PairList)

    async def key(self) -> KeyView:
        """Return the key that signs quotes."""
        return await self._get("/v1/keys", KeyView)

    async def quote(
        self, source: str, destination: str, amount: int, *, side: Side = Side.SOURCE, gasless: bool = False
    ) -> QuoteView:
        """Ask for a quote; `amount` in smallest units on `side`."""
        body = {
            "from": source,
            "to": destination,
            "amount": str(amount),
            "side": side.value,
            "gasless": gasless,
        }
        return await self._post("/v1/quotes", body, QuoteView)

    async def create_swap(
        self, quote_id: str, hashlock: bytes, refund_address: str, recipient: str
    ) -> SwapCreated:
        """Take a quote. The hashlock is the idempotency key too: repeating the call is safe."""
        body = {
            "quote_id": quote_id,
            "hashlock": hashlock.hex(),
            "refund_address": refund_address,
            "recipient": recipient,
        }
        return await self._post("/v1/swaps", body, SwapCreated, {"Idempotency-Key": hashlock.hex()})

    async def swap(self, swap_id: SwapId) -> SwapView:
        """Show a swap."""
        return await self._get(f"/v1/swaps/{swap_id}", SwapView)

    async def swaps(self, *, limit: int = 20, cursor: str | None = None) -> SwapList:
        """List the swaps made with this client's token."""
        params: dict[str, Any] = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        return await self._get("/v1/swaps", SwapList, params)

    async def claim_terms(self, swap_id: SwapId) -> ClaimTermsView:
        """Ask on what terms the relayer claims, and what is to be signed for it."""
        return await self._get(f"/v1/swaps/{swap_id}/claim", ClaimTermsView)

    async def claim(
        self, swap_id: SwapId, preimage: Preimage, authorization: Mapping[str, str] | None = None
    ) -> SwapView:
        """Hand the preimage over, after checking the bridge's lock: `UserSwap.reveal_to_bridge` does."""
        body: dict[str, Any] = {"preimage": preimage.reveal().hex()}
        if authorization is not None:
            body["authorization"] = dict(authorization)
        return await self._post(f"/v1/swaps/{swap_id}/claim", body, SwapView)

    async def transaction(
        self, swap_id: SwapId, purpose: WalletPurpose, preimage: Preimage | None = None
    ) -> UnsignedTxView:
        """Ask for a fresh transaction to sign; a claim needs the preimage, which the bridge does not keep."""
        body: dict[str, Any] = {"purpose": purpose.value}
        if preimage is not None:
            body["preimage"] = preimage.reveal().hex()
        return await self._post(f"/v1/swaps/{swap_id}/transactions", body, UnsignedTxView)

    async def refund(self, swap_id: SwapId, *, cooperative: bool = True) -> RefundView:
        """Ask for the source back."""
        return await self._post(f"/v1/swaps/{swap_id}/refund", {"cooperative": cooperative}, RefundView)

    async def events(
        self, swap_id: SwapId, after: int = 0, *, follow: bool = True
    ) -> AsyncIterator[EventView]:
        """Yield a swap's events after a sequence number, then new ones, until the stream ends."""
        params = {"after": str(after), "follow": str(follow).lower()}
        path = f"/v1/swaps/{swap_id}/events"
        timeout = httpx.Timeout(15.0, read=60.0)  # the bridge sends a comment every 15 s
        try:
            async with self._http.stream("GET", path, params=params, timeout=timeout) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise _refused(response)
                async for line in response.aiter_lines():
                    if line.startswith("data:"):
                        yield EventView.model_validate_json(line.removeprefix("data:").strip())
        except httpx.HTTPError as error:
            raise BridgeUnreachable(f"the event stream broke ({type(error).__name__})") from None

    async def _get(self, path: str, kind: type[W], params: dict[str, Any] | None = None) -> W:
        return await self._call(self._http.build_request("GET", path, params=params), kind)

    async def _post(
        self, path: str, body: dict[str, Any], kind: type[W], headers: dict[str, str] | None = None
    ) -> W:
        return await self._call(self._http.build_request("POST", path, json=body, headers=headers), kind)

    async def _call(self, request: httpx.Request, kind: type[W]) -> W:
        try:
            response = await self._http.send(request)
        except httpx.HTTPError as error:
            # Not the error's own text: it may hold the request.
            raise BridgeUnreachable(f"the bridge did not answer ({type(error).__name__})") from None
        if not response.is_success:
            raise _refused(response)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise BridgeUnreachable("the answer is not one of this API's version") from None


def _refused(response: httpx.Response) -> BridgeProblem | BridgeUnreachable:
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return BridgeUnreachable(f"something answered {response.status_code}, but not the bridge")
    after = response.headers.get("Retry-After", "")
    return BridgeProblem(problem, int(after) if after.isdecimal() else None)
