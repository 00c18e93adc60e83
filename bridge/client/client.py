"""The typed client of the REST API: one method for each call, structs out, problems as exceptions.

It only carries requests. What keeps a user's money safe (the recovery file, checking the bridge's lock on
chain, when to reveal) is in `bridge.client.swap`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from bridge.client.errors import BridgeRefusedError, BridgeUnreachableError
from bridge.client.http import HttpRequest, Transport, open_transport
from bridge.protocol.types import Preimage, SwapId
from bridge.wire.base import Wire
from bridge.wire.log import (
    BundleView,
    LogConsistencyView,
    LogHeadView,
    LogLeafList,
    LogProofView,
    LogWitnessView,
)
from bridge.wire.market import ChainList, CreditView, FeeChoice, KeyView, PairList, QuoteView, Side
from bridge.wire.problems import Problem
from bridge.wire.swaps import (
    ClaimTermsView,
    EventView,
    RefundView,
    RestoreView,
    SwapCreated,
    SwapList,
    SwapView,
    UnsignedTxView,
    WalletPurpose,
)

W = TypeVar("W", bound=Wire)

DEFAULT_URL = "http://127.0.0.1:8080"
STREAM_READ_SECONDS = 60.0
"""The bridge sends a comment every 15 s."""


def new_token() -> str:
    """Make a client token. It lets its holder list the swaps made with it."""
    return secrets.token_urlsafe(32)


class BridgeClient:
    """An asynchronous client; use it as a context manager or `close` it."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str = "",
        timeout: float = 15.0,
        transport: Transport | None = None,
    ) -> None:
        self._transport = transport or open_transport(url)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

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
        self,
        source: str,
        destination: str,
        amount: int,
        *,
        side: Side = Side.SOURCE,
        gasless: bool = False,
        firm: bool = False,
        lock_fee: FeeChoice | None = None,
    ) -> QuoteView:
        """Ask for a quote; `amount` in smallest units on `side`. `firm`: what arrives is fixed now;
        `lock_fee`: what is staked of the client's credit, None for what the bridge proposes."""
        body = {
            "from": source,
            "to": destination,
            "amount": str(amount),
            "side": side.value,
            "gasless": gasless,
            "firm": firm,
            "lock_fee": lock_fee.value if lock_fee else None,
        }
        return await self._post("/v1/quotes", body, QuoteView)

    async def credit(self) -> CreditView:
        """Return the credit of this client's token. Raises `BridgeError` without one."""
        return await self._get("/v1/credit", CreditView)

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

    async def restore(self, receipt: str, signature: str) -> RestoreView:
        """Hand in the receipt of a swap that the bridge lost: repeating the call is safe."""
        body = {"receipt": receipt, "signature": signature}
        return await self._post("/v1/swaps/restore", body, RestoreView)

    async def swap(self, swap_id: SwapId) -> SwapView:
        """Show a swap."""
        return await self._get(f"/v1/swaps/{swap_id}", SwapView)

    async def swaps(self, *, limit: int = 20, cursor: str | None = None) -> SwapList:
        """List the swaps made with this client's token."""
        query: dict[str, str | int] = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        return await self._get("/v1/swaps", SwapList, query)

    async def claim_terms(self, swap_id: SwapId) -> ClaimTermsView:
        """Ask for the terms on which the relayer claims, and what must be signed for it."""
        return await self._get(f"/v1/swaps/{swap_id}/claim", ClaimTermsView)

    async def claim(
        self, swap_id: SwapId, preimage: Preimage, authorization: Mapping[str, str] | None = None
    ) -> SwapView:
        """Give the bridge the preimage. Check its lock first, as `UserSwap.reveal_to_bridge` does."""
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
        """Ask the bridge to give the source back."""
        return await self._post(f"/v1/swaps/{swap_id}/refund", {"cooperative": cooperative}, RefundView)

    async def proof(self, swap_id: SwapId, *, since: int | None = None) -> BundleView:
        """Ask for the proof of a swap's outcome. `since`: the height of the first header in it."""
        query = {} if since is None else {"since": since}
        return await self._get(f"/v1/swaps/{swap_id}/proof", BundleView, query)

    async def log_head(self) -> LogHeadView:
        """Return the newest tree head of the log; check its note with `bridge.proofs.notes`."""
        return await self._get("/v1/log/root", LogHeadView)

    async def log_proof(self, index: int, size: int) -> LogProofView:
        """Ask for the proof that a leaf is in the tree of a size."""
        return await self._get("/v1/log/proof", LogProofView, {"index": index, "size": size})

    async def log_consistency(self, first: int, second: int) -> LogConsistencyView:
        """Ask for the proof that one tree goes on from another."""
        return await self._get("/v1/log/consistency", LogConsistencyView, {"first": first, "second": second})

    async def log_leaves(self, start: int = 0, count: int = 100) -> LogLeafList:
        """List leaves in order."""
        return await self._get("/v1/log/leaves", LogLeafList, {"start": start, "count": count})

    async def witness(self, note: str) -> LogWitnessView:
        """Tell the bridge which tree head was seen."""
        return await self._post("/v1/log/witness", {"note": note}, LogWitnessView)

    async def events(
        self, swap_id: SwapId, after: int = 0, *, follow: bool = True
    ) -> AsyncIterator[EventView]:
        """Yield a swap's events after a sequence number, then new ones, until the stream ends."""
        request = HttpRequest(
            "GET",
            f"/v1/swaps/{swap_id}/events",
            {"after": after, "follow": str(follow).lower()},
            headers=self._headers,
            read_timeout=STREAM_READ_SECONDS,
        )
        async with self._transport.send(request) as response:
            if response.status != HTTPStatus.OK:
                raise _refused(response.status, response.headers, await response.body())
            async for line in response.lines():
                if line.startswith("data:"):
                    yield _decoded(line.removeprefix("data:").strip().encode(), EventView)

    async def _get(self, path: str, kind: type[W], query: Mapping[str, str | int] | None = None) -> W:
        return await self._call(HttpRequest("GET", path, query or {}, headers=self._headers), kind)

    async def _post(
        self, path: str, body: dict[str, Any], kind: type[W], headers: Mapping[str, str] | None = None
    ) -> W:
        encoded = msgspec.json.encode(body)
        request = HttpRequest("POST", path, body=encoded, headers={**self._headers, **(headers or {})})
        return await self._call(request, kind)

    async def _call(self, request: HttpRequest, kind: type[W]) -> W:
        request = msgspec.structs.replace(request, read_timeout=self._timeout)
        async with self._transport.send(request) as response:
            body = await response.body()
        if response.status // 100 != HTTPStatus.OK // 100:
            raise _refused(response.status, response.headers, body)
        return _decoded(body, kind)


def _decoded(body: bytes, kind: type[W]) -> W:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError:
        raise BridgeUnreachableError("the answer is not of this version of the API") from None


def _refused(
    status: int, headers: Mapping[str, str], body: bytes
) -> BridgeRefusedError | BridgeUnreachableError:
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        return BridgeUnreachableError(f"something answered {status}, but not the bridge")
    after = headers.get("retry-after", "")
    return BridgeRefusedError(problem, int(after) if after.isdecimal() else None)
