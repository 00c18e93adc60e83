"""One scan: from the blocks that are known to what has happened since, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.chains.port import HtlcEvent, Scan, SetAside
from bridge.protocol.types import Asset, BlockRef
from relayers.evm import blocks, htlc
from relayers.evm.known_locks import KnownLocks
from relayers.evm.logs import read_logs
from relayers.evm.revealing import Revelations
from relayers.evm.rpc import Calls, Rpc
from relayers.evm.terms import Place, read_event

_EVENT_TOPICS = tuple("0x" + topic.hex() for topic in htlc.TOPICS)


class Scanner:
    """Reads blocks, the contract's logs, and what transactions that name the contract show."""

    def __init__(
        self,
        rpc: Rpc,
        place: Place,
        assets: Mapping[str, Asset],
        locks: KnownLocks,
        *,
        reads_finalized: bool,
        reads_calldata: bool,
    ) -> None:
        self._rpc = rpc
        self._place = place
        self._assets = assets
        self._locks = locks
        self._reads_finalized = reads_finalized
        self._revelations = Revelations(place.contract, locks) if reads_calldata else None

    async def heads(self) -> blocks.Heads:
        """Return the newest block, and the newest final one where the network has such."""
        return await blocks.read_heads(self._rpc, finalized=self._reads_finalized)

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`. A node behind the ring on the same chain yields nothing, and no orphans."""
        return await self._rpc.reread(
            lambda one: self._scan(one, recent_blocks, max_blocks), blocks.ChainMovedError
        )

    async def _scan(self, rpc: Calls, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        heads = await blocks.read_heads(rpc, finalized=self._reads_finalized)
        tip = heads.tip
        head = tip.block
        if not recent_blocks:
            headers = await blocks.read_headers(rpc, head.height, head.height, head.parent)
            orphaned: tuple[BlockRef, ...] = ()
            kept: Sequence[BlockRef] = ()
        else:
            recent_blocks = await blocks.anchored(rpc, recent_blocks, head)
            index = await blocks.common_ancestor(rpc, recent_blocks, head)
            if index is None:
                return Scan((), (), (), tip)
            ancestor = recent_blocks[index]
            kept = recent_blocks[: index + 1]
            orphaned = tuple(reversed(recent_blocks[index + 1 :]))
            last = min(head.height, ancestor.height + max_blocks)
            headers = await blocks.read_headers(rpc, ancestor.height + 1, last, ancestor.id)
        if headers and headers[-1].ref.height == head.height and headers[-1].ref.id != head.id:
            raise blocks.ChainMovedError
        heads.check_branch([*kept, *(header.ref for header in headers)])
        events, set_aside = await self._events(rpc, headers)
        return Scan(orphaned, tuple(header.ref for header in headers), events, tip, set_aside)

    async def _events(
        self, rpc: Calls, headers: Sequence[blocks.Header]
    ) -> tuple[tuple[HtlcEvent, ...], tuple[SetAside, ...]]:
        """Return what the blocks show, in their order: in each first the contract's logs."""
        logs = await read_logs(rpc, headers, self._place.contract, _EVENT_TOPICS)
        events: dict[str, list[HtlcEvent]] = {header.ref.id: [] for header in headers}
        set_aside: list[SetAside] = []
        refs = {header.ref.id: header.ref for header in headers}
        for log in logs:
            item = read_event(log, refs[log["blockHash"]], self._place, self._assets, self._locks)
            if isinstance(item, SetAside):
                set_aside.append(item)
            else:
                events[item.block.id].append(item)
        if self._revelations is not None:
            with_logs = {log["transactionHash"] for log in logs}
            for shown, aside in await self._revelations.read(rpc, headers, with_logs):
                set_aside += aside
                for event in shown:
                    events[event.block.id].append(event)
        return tuple(event for found in events.values() for event in found), tuple(set_aside)
