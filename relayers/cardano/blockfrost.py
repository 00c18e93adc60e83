"""What we ask of a Blockfrost service, over HTTP. Whatever is not served is an `EndpointError`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import msgspec

from bridge.chains.endpoints.answers import Answer, EndpointError, reading, shortened
from bridge.chains.endpoints.http import HttpAnswer, HttpEndpoint
from bridge.chains.errors import PortError
from bridge.protocol.types import TxId
from relayers.cardano.blockfrost_wire import (
    BlockfrostBlock,
    Genesis,
    MempoolTx,
    Token,
    TxAt,
    TxOutputs,
    TxPlace,
    WireOutput,
)
from relayers.cardano.chain_view import TxRefusedError

_PAGE = 100
_LIMIT_WORDS = {402: "its daily number of requests is used up", 418: "it has banned us for asking too much"}
"""Blockfrost's own statuses for too many requests (openapi.yaml, "Errors"), beside 429."""
_LIMIT_REST = 60.0
"""Seconds that such a service is left alone."""
_MEMPOOL_FULL = 425
_ACCEPTED = frozenset({200, 404, 403, _MEMPOOL_FULL, *_LIMIT_WORDS})

T = TypeVar("T")


class _TxHash(msgspec.Struct, frozen=True):
    tx_hash: TxId


class _Cbor(msgspec.Struct, frozen=True):
    cbor: str


class Blockfrost:
    """One Blockfrost service; `name` is what messages call it."""

    def __init__(self, url: str, project_id: str, timeout: float, name: str = "Blockfrost") -> None:
        headers = {"project_id": project_id} if project_id else {}
        self.http = HttpEndpoint(url.rstrip("/"), timeout, name, headers=headers)

    def __repr__(self) -> str:
        return "Blockfrost(<url redacted>)"

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.http.name

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()

    # ------------------------------------------------------------------ the chain

    async def genesis(self) -> Genesis:
        """Return which network this is. Raises `PortError` where our key is refused."""
        answer = await self.http.request("GET", "/genesis", accept=_ACCEPTED)
        if answer.status == 403:
            raise PortError(f"{self.name} refuses the project id", "set the project id of this very network")
        if answer.status == 404:
            raise self._lacks("/genesis")
        return self._decoded(answer, Genesis)

    async def parameters(self) -> dict[str, Any]:
        """Return the protocol parameters as they came."""
        return await self._required("/epochs/latest/parameters", dict[str, Any])

    async def head(self) -> BlockfrostBlock:
        """Return the newest block."""
        return await self._required("/blocks/latest", BlockfrostBlock)

    async def block(self, name: str) -> BlockfrostBlock | None:
        """Return a block by height or hash."""
        return await self._or_none(f"/blocks/{name}", BlockfrostBlock)

    async def blocks_after(self, block_id: str, count: int) -> list[BlockfrostBlock] | None:
        """Return up to `count` blocks that follow a block, oldest first; None if it is not on the chain."""
        found: list[BlockfrostBlock] = []
        page = 1
        while len(found) < count:
            query = {"count": _PAGE, "page": page}
            part = await self._or_none(f"/blocks/{block_id}/next", list[BlockfrostBlock], query)
            if part is None:
                return None
            found += part
            page += 1
            if len(part) < _PAGE:
                break
        return found[:count]

    # ------------------------------------------------------------------ transactions

    async def transactions_at(self, place: str, first: int, last: int) -> list[TxAt]:
        """Return the transactions that touched an address or payment credential in blocks `first` to `last`,
        in chain order."""
        query: dict[str, int | str] = {"from": first, "to": last, "order": "asc"}
        path = f"/addresses/{place}/transactions"
        return [tx async for page in self._pages(path, TxAt, query) for tx in page]

    async def newest_transactions_at(self, place: str, first: int = 0) -> AsyncIterator[list[TxAt]]:
        """Yield pages of the transactions that touched an address in block `first` or later, newest first."""
        query: dict[str, int | str] = {"from": first, "order": "desc"}
        async for page in self._pages(f"/addresses/{place}/transactions", TxAt, query):
            yield page

    async def newest_redeeming(self, script: str) -> AsyncIterator[TxId]:
        """Yield the ids of transactions that had a redeemer for a script, failed ones too, newest first."""
        async for page in self._pages(f"/scripts/{script}/redeemers", _TxHash, {"order": "desc"}):
            for tx in page:
                yield tx.tx_hash

    async def place(self, tx_id: TxId) -> TxPlace | None:
        """Return where a transaction was included."""
        return await self._or_none(f"/txs/{tx_id}", TxPlace)

    async def outputs(self, tx_id: TxId) -> TxOutputs | None:
        """Return what an included transaction spends and makes."""
        return await self._or_none(f"/txs/{tx_id}/utxos", TxOutputs)

    async def raw(self, tx_id: TxId) -> bytes | None:
        """Return an included transaction's bytes."""
        found = await self._or_none(f"/txs/{tx_id}/cbor", _Cbor)
        if found is None:
            return None
        with reading(self.name):
            return bytes.fromhex(found.cbor)

    async def knows_datum(self, digest: str) -> bool:
        """Tell whether a datum with this hash was ever on the chain."""
        return await self._or_none(f"/scripts/datum/{digest}/cbor", _Cbor) is not None

    async def utxos(self, place: str) -> list[WireOutput]:
        """Return what is unspent at an address or payment credential, as of the newest block."""
        return [
            output
            async for page in self._pages(f"/addresses/{place}/utxos", WireOutput, {})
            for output in page
        ]

    async def waiting_at(self, address: str) -> list[TxId]:
        """Return the ids of transactions in the mempool that touch an address."""
        pages = self._pages(f"/mempool/addresses/{address}", _TxHash, {})
        return [tx.tx_hash async for page in pages for tx in page]

    async def waiting(self, tx_id: TxId) -> MempoolTx | None:
        """Return a transaction in the mempool."""
        return await self._or_none(f"/mempool/{tx_id}", MempoolTx)

    async def submit(self, raw: bytes) -> str:
        """Send a transaction and return its id. Raises `TxRefusedError`."""
        return self._decoded(await self._post("/tx/submit", raw), str)

    async def evaluate(self, raw: bytes) -> dict[str, tuple[int, int]]:
        """Return memory and steps that each redeemer ("spend:0") needs. Raises `TxRefusedError`."""
        answer = await self._post("/utils/txs/evaluate", raw.hex().encode())
        result = self._decoded(answer, dict[str, Any]).get("result")
        if isinstance(result, dict) and isinstance(result.get("EvaluationResult"), dict):
            with reading(self.name):
                found = {
                    key: (int(units["memory"]), int(units["steps"]))
                    for key, units in result["EvaluationResult"].items()
                }
            if found:
                return found
        raise TxRefusedError(shortened(str(result)))

    async def token(self, unit: str) -> Token | None:
        """Return what is known of a native token."""
        return await self._or_none(f"/assets/{unit}", Token)

    # ------------------------------------------------------------------ HTTP

    async def _required(self, path: str, kind: type[T]) -> T:
        found = await self._or_none(path, kind)
        if found is None:
            raise self._lacks(path)
        return found

    async def _or_none(
        self, path: str, kind: type[T], query: Mapping[str, int | str] | None = None
    ) -> T | None:
        answer = await self.http.request("GET", path, params=query, accept=_ACCEPTED)
        return None if answer.status == 404 else self._decoded(answer, kind)

    async def _pages(
        self, path: str, item: type[T], query: Mapping[str, int | str]
    ) -> AsyncIterator[list[T]]:
        page = 1
        while True:
            found = await self._or_none(path, list[item], {**query, "count": _PAGE, "page": page})  # type: ignore[valid-type]
            if not found:
                return
            yield found
            if len(found) < _PAGE:
                return
            page += 1

    async def _post(self, path: str, body: bytes) -> HttpAnswer:
        """Send a transaction. Raises `TxRefusedError`."""
        headers = {"Content-Type": "application/cbor"}
        answer = await self.http.request(
            "POST", path, data=body, headers=headers, accept={*_ACCEPTED, 400} - {404}
        )
        if answer.status == 400:
            raise TxRefusedError(_message(answer))
        return answer

    def _decoded(self, answer: HttpAnswer, kind: type[T]) -> T:
        status = answer.status
        if status in _LIMIT_WORDS:
            raise EndpointError(
                f"{self.name} answered HTTP {status}: {_LIMIT_WORDS[status]}",
                "use a larger plan, or add another service",
                kind=Answer.RATE_LIMITED,
                retry_after=_LIMIT_REST,
            )
        if status == _MEMPOOL_FULL:
            raise EndpointError(f"{self.name} has a full mempool", "it is sent again; or use another service")
        if status != 200:
            raise self.http.refusal(answer)
        with reading(self.name):
            return msgspec.json.decode(answer.body, type=kind)

    def _lacks(self, path: str) -> EndpointError:
        return EndpointError(
            f"{self.name} has no {path}", "is the URL right, with its /api/v0?", kind=Answer.PERMANENT
        )


def _message(answer: HttpAnswer) -> str:
    try:
        body = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return "no reason given"
    return shortened(str(body.get("message", "no reason given")))
