"""Logs of our contract, read so that a lagging, lying or limited RPC cannot hide one or slip one in.

`eth_getLogs` is always asked. What comes back must be of our contract, of a topic that was asked for, and of
a block that we hold. A block without logs whose bloom filter says that our contract may have logged is not
believed to be empty before its receipts say so: log indexes lag behind heads, receipts come from the block
store. A filter proves nothing in the other direction: some networks and proxies leave it empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from eth_hash.auto import keccak

from bridge.chains.errors import PortUnavailableError
from relayers.evm.blocks import ChainMovedError, Header
from relayers.evm.rpc import Call, Calls, RpcError, failed, quantity

MAX_LOG_SPAN = 500
"""Blocks in one eth_getLogs: the strictest common limit of hosted services on ranges with an address filter.
Those that take fewer get fewer."""

_AT_ONCE = 8
"""Blocks whose receipts are read at the same time. A busy block's are 1.5 MB."""


async def read_logs(rpc: Calls, headers: Sequence[Header], contract: str, topics: Sequence[str]) -> list[Any]:
    """Return the logs of `contract` whose first topic is one of `topics` in these blocks (without gaps,
    oldest first), in chain order.

    Raises `ChainMovedError` when the answer belongs to other blocks, `PortUnavailableError` when it is wrong.
    """
    if not headers:
        return []
    by_block: dict[str, dict[int, Any]] = {header.ref.id: {} for header in headers}
    heights: dict[int, str] = {header.ref.height: header.ref.id for header in headers}
    wanted = {"address": contract, "topics": [list(topics)]}
    first, last = headers[0].ref.height, headers[-1].ref.height
    try:
        found, refused = await logs_between(rpc, first, last, wanted), False
    except RpcError:
        found, refused = [], True  # it does not search its logs: then the receipts tell
    for log in found:
        _check(log, contract, topics)
        if log.get("removed") or log["blockHash"] not in by_block:
            raise ChainMovedError
        if heights.get(quantity(log.get("blockNumber"))) != log["blockHash"]:
            raise PortUnavailableError("the RPC sent a log with the wrong height", "use another endpoint")
        by_block[log["blockHash"]][quantity(log["logIndex"])] = log
    unsure = [
        header
        for header in headers
        if not by_block[header.ref.id] and (refused or may_contain(header.bloom, contract, topics))
    ]
    for header, logs in zip(unsure, await _from_receipts(rpc, unsure, contract, topics), strict=True):
        by_block[header.ref.id] = logs
    return [log for header in headers for _, log in sorted(by_block[header.ref.id].items())]


async def logs_between(rpc: Calls, first: int, last: int, wanted: Mapping[str, Any]) -> list[Any]:
    """Return the logs of `wanted` in the blocks `first` to `last`, in the endpoint's own order. Ranges are as
    wide as it takes them. Raises `RpcError` where it refuses a single block."""

    def call(start: int, end: int) -> Call:
        return Call("eth_getLogs", ({**wanted, "fromBlock": hex(start), "toBlock": hex(end)},))

    pieces = await rpc.ranged("eth_getLogs", first, last, MAX_LOG_SPAN, call)
    logs: list[Any] = []
    for _, _, result in pieces:
        if not isinstance(result, list):
            raise PortUnavailableError("the RPC sent no list of logs", "use another endpoint")
        logs += result
    return logs


def _check(log: Any, contract: str, topics: Sequence[str]) -> None:
    """Raise `PortUnavailableError` for a log that was not asked for."""
    wrong = PortUnavailableError("the RPC sent logs that were not asked for", "use another endpoint")
    if not isinstance(log, Mapping) or not isinstance(log.get("topics"), list):
        raise wrong
    if str(log.get("address")).lower() != contract.lower() or log["topics"][:1] not in ([t] for t in topics):
        raise wrong
    if not all(isinstance(log.get(key), str) for key in ("blockHash", "transactionHash", "data")):
        raise wrong


async def _from_receipts(
    rpc: Calls, headers: Sequence[Header], contract: str, topics: Sequence[str]
) -> list[dict[int, Any]]:
    """Let the blocks' receipts decide what their log index leaves open."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(header: Header) -> dict[int, Any]:
        async with gate:
            receipts = await _receipts(rpc, header)
        return {
            quantity(log["logIndex"]): log
            for receipt in receipts
            for log in receipt.get("logs") or ()
            if log["address"].lower() == contract.lower() and log["topics"] and log["topics"][0] in topics
        }

    # All end before one error is raised: none is left running.
    results = await asyncio.gather(*map(one, headers), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, dict)]


async def _receipts(rpc: Calls, header: Header) -> list[Mapping[str, Any]]:
    """Return the receipts of a block: at once, or one by one from endpoints that do not have that call."""
    (at_once,) = await rpc.batch([Call("eth_getBlockReceipts", (header.ref.id,))])
    if isinstance(at_once, list):
        receipts: list[Any] = at_once
    elif isinstance(at_once, RpcError):
        calls = [Call("eth_getTransactionReceipt", (tx_id,)) for tx_id in header.transactions]
        receipts = await rpc.batch(calls)
        for receipt in receipts:
            if isinstance(receipt, RpcError):
                raise failed(receipt) from receipt
    else:
        raise ChainMovedError
    if not all(isinstance(receipt, Mapping) for receipt in receipts):
        raise ChainMovedError
    if any(receipt.get("blockHash", header.ref.id) != header.ref.id for receipt in receipts):
        raise ChainMovedError
    if len(receipts) < len(header.transactions):
        raise PortUnavailableError("the RPC left out receipts of a block", "use another endpoint")
    return receipts


def may_contain(bloom: bytes, contract: str, topics: Sequence[str]) -> bool:
    """Tell whether a block's bloom filter allows a log of `contract` with one of these first topics.

    Yellow Paper, section 4.3.1: three bits, the low 11 bits of each of the first three byte pairs of Keccak.
    """
    return _in_bloom(bloom, bytes.fromhex(contract[2:])) and any(
        _in_bloom(bloom, bytes.fromhex(topic[2:])) for topic in topics
    )


def _in_bloom(bloom: bytes, item: bytes) -> bool:
    digest = keccak(item)
    bits = int.from_bytes(bloom, "big")
    return all(bits >> (int.from_bytes(digest[i : i + 2], "big") & 2047) & 1 for i in (0, 2, 4))
