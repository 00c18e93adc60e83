"""The node's client: typed, asynchronous, over HTTP and WebSocket.

`NodeUnreachableError` is raised for all that may pass by itself (no connection, timeouts, answers that are
not JSON-RPC); `RpcError` with `reason` (see `chain.rules.errors.Reason`) for what the node refused.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec
import websockets

from chain.rules.anchors import AnchorProof
from chain.rules.errors import NodeUnreachableError, RpcError
from chain.rules.records import Transaction
from chain.service.messages import (
    AccountView,
    BlockSubmitted,
    BlockTemplate,
    BlockView,
    ClockView,
    DevReorg,
    FeeView,
    HeaderView,
    LockView,
    MempoolView,
    Mined,
    NewBlock,
    NodeInfo,
    Submitted,
    TransactionStatus,
    TransactionView,
    from_wire,
)

T = TypeVar("T")


class ZionClient:
    """A client of one node. Ids and hashes go in as bytes or hex, addresses as "zion1…"."""

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        """`url` is the node's RPC URL, `timeout` seconds for each call."""
        self.url = url
        self._http = httpx.AsyncClient(timeout=timeout)
        self._ids = itertools.count(1)

    async def __aenter__(self) -> ZionClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Release connections."""
        await self._http.aclose()

    async def call(self, method: str, kind: type[T] | Any, **params: Any) -> T:
        """Call any method; the result as `kind`."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            response = await self._http.post(self.url, json=request)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise NodeUnreachableError(
                f"the node at {self.url} did not answer {method}: {type(error).__name__}",
                hint="is it running?",
            ) from error
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise NodeUnreachableError(
                f"{self.url} does not speak JSON-RPC (HTTP {response.status_code})", hint="check the URL"
            )
        if (fault := answer.get("error")) is not None:
            data = fault.get("data") or {}
            raise RpcError(
                fault.get("message", "error"),
                code=fault.get("code", 0),
                reason=data.get("reason", ""),
                hint=data.get("hint", ""),
            )
        try:
            result: T = from_wire(answer["result"], kind)
        except msgspec.ValidationError as error:
            raise NodeUnreachableError(
                f"the node's answer to {method} cannot be read: {error}",
                hint="are node and client of one version?",
            ) from None
        return result

    async def get_info(self) -> NodeInfo:
        """Return the node and its head."""
        return await self.call("getInfo", NodeInfo)

    async def get_block(self, block: str | bytes | int) -> BlockView:
        """Return a block by id (any branch) or height (main chain), decoded, with preimages."""
        return await self.call("getBlock", BlockView, block=_block(block))

    async def get_header(self, block: str | bytes | int) -> HeaderView:
        """Return a header by id (any branch) or height (main chain)."""
        return await self.call("getHeader", HeaderView, block=_block(block))

    async def get_headers(self, start: int, count: int = 100) -> tuple[HeaderView, ...]:
        """Return main-chain headers from height `start` up."""
        return await self.call("getHeaders", tuple[HeaderView, ...], start=start, count=count)

    async def get_transaction(self, txid: str | bytes) -> TransactionStatus:
        """Tell where a transaction is: unknown, mempool or included."""
        return await self.call("getTransaction", TransactionStatus, txid=_hex(txid))

    async def get_account(self, address: str) -> AccountView:
        """Return balance, nonces and consciousness level."""
        return await self.call("getAccount", AccountView, address=address)

    async def get_balance(self, address: str) -> int:
        """Return the confirmed balance, smallest units."""
        return await self.call("getBalance", int, address=address)

    async def get_lock(self, lock_id: str | bytes) -> LockView | None:
        """Return a lock, open or spent; None when no block of the main chain makes it."""
        try:
            return await self.call("getLock", LockView, lock_id=_hex(lock_id))
        except RpcError as error:
            if error.reason == "not_found":
                return None
            raise

    async def find_locks(self, hashlock: str | bytes, limit: int = 100) -> tuple[LockView, ...]:
        """Return the locks under a hashlock."""
        return await self.call("findLocks", tuple[LockView, ...], hashlock=_hex(hashlock), limit=limit)

    async def submit(self, transaction: Transaction | bytes) -> Submitted:
        """Submit a signed transaction; submitting a known one again is not an error."""
        raw = transaction.raw if isinstance(transaction, Transaction) else transaction
        return await self.call("submitTransaction", Submitted, raw=raw.hex())

    async def estimate_fee(self) -> FeeView:
        """Return what fees suffice now."""
        return await self.call("estimateFee", FeeView)

    async def get_mempool(self, limit: int = 100) -> MempoolView:
        """Return waiting transactions, highest fee first."""
        return await self.call("getMempool", MempoolView, limit=limit)

    async def get_anchor_proof(self, txid: str | bytes) -> AnchorProof:
        """Return the proof of an anchor; check it with `chain.rules.anchors.verify_anchor_proof`."""
        return await self.call("getAnchorProof", AnchorProof, txid=_hex(txid))

    async def find_anchors(self, root: str | bytes, limit: int = 100) -> tuple[str, ...]:
        """Return ids of the anchors of a root."""
        return await self.call("findAnchors", tuple[str, ...], root=_hex(root), limit=limit)

    async def get_block_template(self, address: str | None = None) -> BlockTemplate:
        """Return a block to mine."""
        params = {} if address is None else {"address": address}
        return await self.call("getBlockTemplate", BlockTemplate, **params)

    async def submit_block(self, block: bytes) -> BlockSubmitted:
        """Submit a mined block."""
        return await self.call("submitBlock", BlockSubmitted, block=block.hex())

    async def dev_advance_time(self, seconds: int, *, settle: bool = False) -> ClockView:
        """Move the dev clock; `settle` mines until the median time past has followed."""
        return await self.call("dev_advanceTime", ClockView, seconds=seconds, settle=settle)

    async def dev_set_mining(self, on: bool) -> bool:
        """Switch the dev miner on or off."""
        return await self.call("dev_setMining", bool, on=on)

    async def dev_mine(self, count: int = 1) -> Mined:
        """Make blocks now."""
        return await self.call("dev_mine", Mined, count=count)

    async def dev_fund(self, address: str, amount: int) -> str:
        """Send from the dev treasury; returns the transaction id."""
        return (await self.call("dev_fund", Submitted, address=address, amount=str(amount))).txid

    async def dev_reorg(
        self, depth: int, drop: Sequence[str | bytes] = (), *, readmit_dropped: bool = False
    ) -> DevReorg:
        """Replace the last `depth` blocks by a heavier branch without the transactions `drop`."""
        return await self.call(
            "dev_reorg",
            DevReorg,
            depth=depth,
            drop=[_hex(txid) for txid in drop],
            readmit_dropped=readmit_dropped,
        )

    async def subscribe(self, *topics: str) -> AsyncIterator[NewBlock | TransactionView]:
        """Yield new blocks ("newBlock") and transactions ("newTransaction") until the line drops.

        Pushes are hints: after a drop, poll what was missed. Raises `NodeUnreachableError`.
        """
        parts = urlsplit(self.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        url = urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/ws", "", ""))
        wanted = list(topics) or ["newBlock"]
        try:
            async with websockets.connect(url, max_size=2**24, proxy=None) as socket:
                await socket.send(
                    json.dumps({"jsonrpc": "2.0", "id": 0, "method": "subscribe", "params": wanted})
                )
                async for message in socket:
                    event = json.loads(message)
                    if event.get("method") == "newBlock":
                        yield from_wire(event["params"], NewBlock)
                    elif event.get("method") == "newTransaction":
                        yield from_wire(event["params"], TransactionView)
        except (OSError, websockets.WebSocketException, ValueError) as error:
            raise NodeUnreachableError(
                f"the line to {url} dropped: {type(error).__name__}", hint="poll, then subscribe again"
            ) from error


def _hex(value: str | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else value


def _block(value: str | bytes | int) -> str | int:
    return value.hex() if isinstance(value, bytes) else value
