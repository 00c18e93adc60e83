"""Reads whole blocks for what their transactions show: `Revealed`, and `SetAside` for what cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.kept import kept
from bridge.chains.port import Revealed, SetAside
from bridge.chains.preimages import revealed
from bridge.protocol.types import BlockRef, TxId
from relayers.evm.blocks import ChainMovedError, Header
from relayers.evm.calldata import concerns_us, is_plain_call, strings
from relayers.evm.known_locks import KnownLocks
from relayers.evm.rpc import Calls, OneEndpoint

_AT_ONCE = 4
"""Blocks that are read at the same time; a busy one is about half a megabyte."""

_TRIES = 6
"""How often all endpoints together may fail to give a block's transactions before the block is set aside:
everything else about it is known, and a block that no endpoint can serve must not stop the scan."""


_KEPT = "what blocks show"

Shown = tuple[list[Revealed], list[SetAside]]
"""What a block's transactions show, and what of it could not be read."""


class Revelations:
    """Finds what transactions show that name our contract or one of the locks that are remembered."""

    def __init__(self, contract: str, locks: KnownLocks) -> None:
        self._contract = contract
        self._locks = locks
        self._failed: dict[str, int] = {}

    async def read(self, rpc: Calls, headers: Sequence[Header], with_logs: Collection[str]) -> list[Shown]:
        """Return for each block what its transactions show and what of it could not be read. `with_logs` are
        the transactions that our contract logged something in.

        Raises `ChainMovedError`, and `PortUnavailableError` while a block may still be had.
        """
        gate = asyncio.Semaphore(_AT_ONCE)
        memory = rpc.memory if isinstance(rpc, OneEndpoint) else {}
        with kept(memory, _KEPT, [header.ref.id for header in headers]) as found:

            async def one(header: Header) -> Shown:
                if not header.transactions:
                    return [], []
                if header.ref.id not in found:
                    async with gate:
                        found[header.ref.id] = await self._block(rpc, header.ref, with_logs)
                shown: Shown = found[header.ref.id]
                return shown

            results = await asyncio.gather(*map(one, headers), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        return [result for result in results if isinstance(result, tuple)]

    async def _block(self, rpc: Calls, block: BlockRef, with_logs: Collection[str]) -> Shown:
        try:
            result = await rpc.call("eth_getBlockByHash", block.id, True)
        except EndpointError as error:
            return [], [self._in_vain(block, error)]
        self._failed.pop(block.id, None)
        if result is None:
            raise ChainMovedError
        if not isinstance(result, Mapping) or result.get("hash") != block.id:
            raise EndpointError("the RPC sent another block", "use another endpoint", kind=Answer.WRONG)
        shown: list[Revealed] = []
        aside: list[SetAside] = []
        for index, transaction in enumerate(result.get("transactions") or ()):
            self._transaction(block, index, transaction, with_logs, shown, aside)
        return shown, aside

    def _transaction(
        self,
        block: BlockRef,
        index: int,
        transaction: Any,
        with_logs: Collection[str],
        shown: list[Revealed],
        aside: list[SetAside],
    ) -> None:
        try:
            tx_id = TxId(transaction["hash"])
            data = bytes.fromhex(transaction.get("input", transaction.get("data"))[2:])
            if tx_id in with_logs:
                ours = not is_plain_call(transaction, data, self._contract)
            else:
                ours = concerns_us(transaction, data, self._contract, self._locks)
        except (AttributeError, KeyError, TypeError, ValueError):
            aside.append(SetAside(block, _name(transaction, index), "the transaction's fields are not known"))
            return
        if ours:
            found, is_all = strings(data)
            shown.extend(revealed(block, tx_id, found))
            if not is_all:
                reason = f"{len(data)} bytes of calldata are too many to look for secrets in all of them"
                aside.append(SetAside(block, tx_id, reason))

    def _in_vain(self, block: BlockRef, error: EndpointError) -> SetAside:
        """Count a failure; raise it as long as another try, or another endpoint, may help."""
        if error.kind is Answer.RATE_LIMITED:
            raise error
        tries = self._failed.pop(block.id, 0) + 1
        if tries < _TRIES:
            self._failed = {**dict(list(self._failed.items())[-_AT_ONCE:]), block.id: tries}
            raise EndpointError(f"a block could not be read: {error}", "it is retried") from error
        return SetAside(block, block.id, f"no endpoint gave its transactions: {error}")


def _name(transaction: Any, index: int) -> str:
    name = transaction.get("hash") if isinstance(transaction, Mapping) else None
    return name if isinstance(name, str) else f"transaction {index}"
