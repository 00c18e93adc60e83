"""What we ask of a Blockfrost service, over HTTP. Answers of another shape are `PortUnavailableError`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import httpx
import msgspec

from bridge.chains.errors import PortError, PortUnavailableError
from bridge.protocol.types import TxId
from relayers.cardano.blockfrost_wire import (
    BlockfrostBlock,
    Genesis,
    MempoolTx,
    TxAt,
    TxOutputs,
    TxPlace,
    WireOutput,
)
from relayers.cardano.chain_view import TxRefusedError

_PAGE = 100
_AGAIN = "it may pass by itself; check the service and its limits if it lasts"

T = TypeVar("T")


class _TxHash(msgspec.Struct, frozen=True):
    tx_hash: TxId


class _Cbor(msgspec.Struct, frozen=True):
    cbor: str


class Blockfrost:
    """One Blockfrost service."""

    def __init__(self, url: str, project_id: str, timeout: float) -> None:
        headers = {"project_id": project_id} if project_id else {}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout)

    def __repr__(self) -> str:
        return "Blockfrost(<url redacted>)"

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # ------------------------------------------------------------------ the chain

    async def genesis(self) -> Genesis:
        """Return which network this is."""
        return await self._required("/genesis", Genesis)

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
        return None if found is None else _unhex(found.cbor)

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
        answer = await self._post("/tx/submit", raw, {"Content-Type": "application/cbor"})
        if answer.status_code == 400:
            raise TxRefusedError(_message(answer))
        return _decode(_checked(answer), str)

    async def evaluate(self, raw: bytes) -> dict[str, tuple[int, int]]:
        """Return memory and steps that each redeemer ("spend:0") needs. Raises `TxRefusedError`."""
        body = raw.hex().encode()
        answer = await self._post("/utils/txs/evaluate", body, {"Content-Type": "application/cbor"})
        if answer.status_code == 400:
            raise TxRefusedError(_message(answer))
        result = _decode(_checked(answer), dict[str, Any]).get("result")
        if isinstance(result, dict) and isinstance(result.get("EvaluationResult"), dict):
            try:
                found = {
                    key: (int(units["memory"]), int(units["steps"]))
                    for key, units in result["EvaluationResult"].items()
                }
            except (KeyError, TypeError, ValueError) as error:
                raise PortUnavailableError("Blockfrost's evaluation has an unknown form", _AGAIN) from error
            if found:
                return found
        raise TxRefusedError(_shorten(str(result)))

    # ------------------------------------------------------------------ HTTP

    async def _required(self, path: str, kind: type[T]) -> T:
        found = await self._or_none(path, kind)
        if found is None:
            raise PortUnavailableError(f"Blockfrost has no {path}", "is the URL right, with its /api/v0?")
        return found

    async def _or_none(
        self, path: str, kind: type[T], query: Mapping[str, int | str] | None = None
    ) -> T | None:
        try:
            answer = await self._http.get(path, params=dict(query or {}))
        except httpx.HTTPError as error:
            raise PortUnavailableError(
                f"Blockfrost did not answer ({type(error).__name__})", _AGAIN
            ) from None
        if answer.status_code == 404:
            return None
        return _decode(_checked(answer), kind)

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

    async def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        try:
            return await self._http.post(path, content=body, headers=dict(headers))
        except httpx.HTTPError as error:
            raise PortUnavailableError(
                f"Blockfrost did not answer ({type(error).__name__})", _AGAIN
            ) from None


def _checked(answer: httpx.Response) -> bytes:
    if answer.status_code == 403:
        raise PortError("Blockfrost refuses the project id", "set the project id of this very network")
    if answer.status_code != 200:
        raise PortUnavailableError(f"Blockfrost answered {answer.status_code}", _AGAIN)
    return answer.content


def _decode(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise PortUnavailableError("Blockfrost answered something unreadable", _AGAIN) from error


def _message(answer: httpx.Response) -> str:
    try:
        body = msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.MsgspecError:
        return "no reason given"
    return _shorten(str(body.get("message", "no reason given")))


def _shorten(text: str) -> str:
    return text if len(text) <= 500 else text[:500] + "…"


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise PortUnavailableError("Blockfrost answered with something other than hex", _AGAIN) from error
