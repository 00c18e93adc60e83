"""The chain as your own node shows it, through Ogmios and Kupo; a `relayers.cardano.chain_view.ChainView`.

Ogmios tells which blocks there are, Kupo what became of outputs. Kupo follows the node a moment later, so the
newest block of which anything can be said is Kupo's; where the two show different branches, everything is
read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence, Set

from pycardano import ProtocolParameters

from bridge.chains.endpoints.ancestry import DISTANCES
from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.errors import PortError
from bridge.chains.recent_blocks import newest_common
from bridge.protocol.types import BlockHeight, BlockRef, TxId, UnixSeconds
from relayers.cardano.chain_view import (
    NOWHERE,
    ChainMovedError,
    HtlcTx,
    Inclusion,
    NetworkId,
    Output,
    OutRef,
    Traced,
    Waiting,
)
from relayers.cardano.htlc import credential
from relayers.cardano.kupo import Kupo, Match, SpentAt
from relayers.cardano.kupo_reach import KupoReach
from relayers.cardano.ogmios import Ogmios, OgmiosBlock, Point
from relayers.cardano.ogmios_tx import ShownTx
from relayers.cardano.own_node_items import failed_tx, read_tx
from relayers.cardano.script import validator_hash
from relayers.cardano.settings import CardanoSettings

_NO_PARENT = "0" * 64
_KEPT_BLOCKS = 2_160
"""As many as Cardano may roll back: what is older is not asked for again."""
_SLOTS_A_BLOCK = 20
"""On average."""
_KEPT_TRANSACTIONS = 2_000
_UNREAD_BLOCKS = 20
"""How far Kupo may be behind while a transaction is looked for: more is not its usual moment."""


class OwnNodeView:
    """Ogmios and Kupo. What is in a block never changes, so blocks are kept."""

    def __init__(self, ogmios: Ogmios, kupo: Kupo, settings: CardanoSettings) -> None:
        self._ogmios = ogmios
        self._kupo = kupo
        self._settings = settings
        self._blocks: dict[str, OgmiosBlock] = {}
        self._unread: list[OgmiosBlock] = []
        """Blocks that were given out last, as long as not all that happened in them was read."""
        self._contents: dict[tuple[str, str], ShownTx | None] = {}
        """What transactions show, by block and id."""
        self._reach = KupoReach(kupo, ogmios)

    def watch_connections(self, opened: Callable[[], None]) -> None:
        """Have `opened` called whenever a connection was opened."""
        self._ogmios.on_connect = self._kupo.http.on_connect = opened

    async def network(self) -> NetworkId:
        """See `ChainView`. What Kupo has read must be on the node's chain, and locks must be among it."""
        network = await self._ogmios.network()
        settled = await self._kupo.settled()
        if settled is not None:
            found, tip = await self._ogmios.intersect([Point(settled.slot_no, settled.header_hash)])
            if found is None and tip.slot >= settled.slot_no:
                raise PortError(
                    "Kupo follows another chain than Ogmios", "correct kupo_url or ogmios_url, or index again"
                )
        if not await self._kupo.follows(credential()):
            raise PortError(
                "Kupo does not follow the outputs of the HTLC",
                f"start it with --match '{validator_hash().payload.hex()}/*'",
            )
        return network

    async def parameters(self) -> ProtocolParameters:
        """See `ChainView`."""
        return await self._ogmios.parameters()

    # ------------------------------------------------------------------ blocks

    async def head(self) -> BlockRef:
        """See `ChainView`."""
        newest = await self._kupo.newest()
        if newest is None:
            raise EndpointError(f"{self._kupo.name} has read no block yet", "wait until it is synchronised")
        return self._ref(await self._block(Point(newest.slot_no, newest.header_hash)))

    async def newest_blocks(self) -> Sequence[BlockRef]:
        """See `ChainView`."""
        head = await self.head()
        found = [head]
        for back in DISTANCES[1:]:
            point = await self._kupo.checkpoint(self._settings.slot_at(head.time) - back * _SLOTS_A_BLOCK)
            if point is not None:
                time = UnixSeconds(self._settings.time_of(point.slot_no))
                found.append(BlockRef(BlockHeight(0), point.header_hash, "", time))
        return found

    async def shows(self, block: BlockRef) -> bool:
        """See `ChainView`."""
        point = Point(self._settings.slot_at(block.time), block.id)
        return (await self._ogmios.intersect([point]))[0] is not None

    async def newest_known(
        self, recent_blocks: Sequence[BlockRef], head: BlockRef
    ) -> tuple[int | None, BlockRef | None]:
        """See `ChainView`. The node itself finds the newest that is on its chain."""
        ring = list(recent_blocks)
        canonical = {head.height: head.id}
        points = [Point(self._settings.slot_at(ref.time), ref.id) for ref in reversed(ring) if ref.id]
        found, tip = await self._ogmios.intersect(points) if points else (None, None)
        if found is not None:
            index = next(place for place, ref in enumerate(ring) if ref.id == found.id)
            if ring[index].height > head.height:
                return None, None  # Kupo is behind
            canonical[ring[index].height] = found.id
        elif not ring[0].id and ring[0].height <= head.height:
            if tip is not None and tip.height < head.height:
                raise ChainMovedError
            ring[0] = await self._at_height(ring[0].height, head)
            canonical[ring[0].height] = ring[0].id
        place = newest_common(ring, canonical, head)
        return (None, None) if place is None else (place, ring[place])

    async def _at_height(self, height: int, head: BlockRef) -> BlockRef:
        """Return the block at a height, without its parent: neither Ogmios nor Kupo knows heights, so its
        slot is searched between the first and the head's."""
        if height == head.height:
            return head
        low, high = 0, self._settings.slot_at(head.time) - 1
        while low <= high:
            middle = (low + high) // 2
            point = await self._kupo.checkpoint(middle)
            if point is None:
                low = middle + 1
                continue
            following = await self._ogmios.blocks_after(Point(point.slot_no, point.header_hash), 1)
            if not following:
                raise ChainMovedError
            found = following[0].height - 1
            if found == height:
                return BlockRef(
                    BlockHeight(height),
                    point.header_hash,
                    "",
                    UnixSeconds(self._settings.time_of(point.slot_no)),
                )
            if found < height:
                low = middle + 1
            else:
                high = point.slot_no - 1
        raise EndpointError(
            f"{self._kupo.name} has no block {height}",
            "index from an earlier block on",
            kind=Answer.PERMANENT,
        )

    async def blocks_after(self, block: BlockRef, count: int) -> list[BlockRef]:
        """See `ChainView`."""
        unread = self._unread[:count]
        if unread and unread[0].ancestor == block.id:
            # Something failed after they had been read. They need not be read again, if they still stand.
            last = Point(unread[-1].slot, unread[-1].id)
            if (await self._ogmios.intersect([last]))[0] is not None:
                return [self._ref(header) for header in unread]
        point = Point(self._settings.slot_at(block.time), block.id)
        following = await self._ogmios.blocks_after(point, count)
        if following is None:
            raise ChainMovedError
        for header in following:
            self._keep(header)
        self._unread = following
        return [self._ref(header) for header in following]

    async def _block(self, point: Point) -> OgmiosBlock:
        """Return a block that Kupo knows. Raises `ChainMovedError` if the node has another branch."""
        kept = self._blocks.get(point.id)
        if kept is not None:
            return kept
        parent = await self._kupo.checkpoint(point.slot - 1)
        before = None if parent is None else Point(parent.slot_no, parent.header_hash)
        following = await self._ogmios.blocks_after(before, 1)
        if not following or following[0].id != point.id:
            raise ChainMovedError
        self._keep(following[0])
        return following[0]

    def _keep(self, block: OgmiosBlock) -> None:
        if len(self._blocks) >= _KEPT_BLOCKS:
            self._blocks.pop(next(iter(self._blocks)))
        self._blocks[block.id] = block

    def _ref(self, block: OgmiosBlock) -> BlockRef:
        parent = _NO_PARENT if block.ancestor == "genesis" else block.ancestor
        return BlockRef(
            BlockHeight(block.height), block.id, parent, UnixSeconds(self._settings.time_of(block.slot))
        )

    # ------------------------------------------------------------------ what happened to locks

    async def activity(self, blocks: Sequence[BlockRef]) -> list[HtlcTx]:
        """See `ChainView`."""
        known = len(self._contents)
        try:
            found = await self._activity(blocks)
        except EndpointError as error:
            # What was read is kept: the next try goes on from there.
            error.progress |= len(self._contents) > known
            raise
        self._contents.clear()
        self._unread = []
        return found

    async def _activity(self, blocks: Sequence[BlockRef]) -> list[HtlcTx]:
        refs = {ref.id: ref for ref in blocks}
        first, last = (self._settings.slot_at(ref.time) for ref in (blocks[0], blocks[-1]))
        await self._reach.must_cover(blocks[0], first)
        created, spent = await asyncio.gather(
            self._kupo.created(credential(), first, last), self._kupo.spent(credential(), first, last)
        )
        made: dict[tuple[str, str], list[Output]] = {}
        gone: dict[tuple[str, str], list[Match]] = {}
        for match in created:
            made.setdefault((match.created_at.header_hash, match.transaction_id), []).append(match.output)
        for match in spent:
            if match.spent_at is None or match.spent_at.transaction_id is None:
                raise self._silent()
            gone.setdefault((match.spent_at.header_hash, match.spent_at.transaction_id), []).append(match)
        touching: dict[str, set[str]] = {}
        for block_id, tx_id in made.keys() | gone.keys():
            if block_id not in refs:
                raise ChainMovedError
            touching.setdefault(block_id, set()).add(tx_id)
        found: list[HtlcTx] = []
        for ref in blocks:
            wanted = touching.get(ref.id, set())
            block = await self._block(Point(self._settings.slot_at(ref.time), ref.id))
            if not wanted <= set(block.transactions):
                raise ChainMovedError
            shown = await self._shown(block, wanted - block.failed.keys())
            for tx_id in block.transactions:
                place = ref.id, tx_id
                if tx_id in block.failed:
                    found.append(failed_tx(TxId(tx_id), ref, block.failed[tx_id]))
                elif tx_id in wanted:
                    outputs = tuple(sorted(made.get(place, ()), key=lambda entry: entry.index))
                    found.append(read_tx(TxId(tx_id), ref, gone.get(place, ()), outputs, shown[tx_id]))
        return found

    def _silent(self) -> EndpointError:
        return EndpointError(
            f"{self._kupo.name} does not say what spent a lock",
            "index again with Kupo 2.10 or later",
            kind=Answer.WRONG,
        )

    async def _shown(self, block: OgmiosBlock, wanted: Set[str]) -> dict[str, ShownTx | None]:
        """Return what transactions of a block show. Raises `ChainMovedError`."""
        kept = {tx: self._contents[block.id, tx] for tx in wanted if (block.id, tx) in self._contents}
        if len(kept) == len(wanted):
            return kept
        parent = await self._kupo.checkpoint(block.slot - 1)
        before = None if parent is None else Point(parent.slot_no, parent.header_hash)
        shown = await self._ogmios.shown(before, block.id, set(wanted))
        if shown.keys() != wanted:
            raise ChainMovedError
        while self._contents and len(self._contents) + len(shown) > _KEPT_TRANSACTIONS:
            self._contents.pop(next(iter(self._contents)))
        self._contents.update({(block.id, tx): what for tx, what in shown.items()})
        return shown

    async def past_activity(
        self,
        wanted: Callable[[Output], bool],
        digest: str,  # noqa: ARG002 - Kupo shows all datums
        since: BlockHeight | None,  # noqa: ARG002 - one answer holds all
    ) -> AsyncIterator[HtlcTx]:
        """See `ChainView`."""
        for match in await self._kupo.ever(credential()):
            if wanted(match.output):
                if match.spent_at is not None:
                    yield await self._spending(match, match.spent_at)
                yield HtlcTx(TxId(match.transaction_id), NOWHERE, (), (match.output,))

    async def covers(
        self,
        since: BlockHeight | None,
        account: str,
        digest: str,  # noqa: ARG002 - Kupo tells what it follows
    ) -> bool:
        """See `ChainView`."""
        return await self._kupo.follows(credential()) and await self._reach.reaches(since, account)

    async def knows_transactions(self, since: BlockHeight | None, account: str) -> bool:
        """See `ChainView`. Every transaction of ours has an output that Kupo follows."""
        return await self._kupo.follows(account) and await self._reach.reaches(since, account)

    async def output(self, ref: OutRef) -> Traced | None:
        """See `ChainView`."""
        match = await self._kupo.output(ref)
        if match is None:
            return None
        if match.spent_at is None:
            return Traced(match.output, None)
        return Traced(match.output, TxId(match.spent_at.transaction_id or "an unknown transaction"))

    async def spending(self, traced: Traced) -> HtlcTx:
        """See `ChainView`."""
        match = await self._kupo.output(traced.output.ref)
        if match is None or match.spent_at is None:
            raise ChainMovedError
        return await self._spending(match, match.spent_at)

    async def made_after(self, block: BlockRef) -> list[Output] | None:
        """See `ChainView`."""
        slot = self._settings.slot_at(block.time)
        known, newest = await self._kupo.checkpoint(slot), await self._kupo.newest()
        if known is None or newest is None or known.header_hash != block.id:
            return None
        if newest.slot_no <= slot:
            return []
        made = await self._kupo.created(credential(), slot + 1, newest.slot_no)
        return [match.output for match in made]

    async def _spending(self, match: Match, spent_at: SpentAt) -> HtlcTx:
        """Return the transaction that spent an output."""
        if spent_at.transaction_id is None:
            raise self._silent()
        tx_id = TxId(spent_at.transaction_id)
        block = await self._block(Point(spent_at.slot_no, spent_at.header_hash))
        shown = await self._shown(block, {tx_id})
        return read_tx(tx_id, NOWHERE, [match], (), shown[tx_id])

    # ------------------------------------------------------------------ outputs and transactions

    async def utxos(self, place: str) -> list[Output]:
        """See `ChainView`."""
        return [match.output for match in await self._kupo.unspent(place)]

    async def decimals(self, unit: str) -> None:
        """See `ChainView`. Neither Ogmios nor Kupo reads a registry."""

    async def waiting(self, address: str) -> list[Waiting]:  # noqa: ARG002 - the node's mempool is small
        """See `ChainView`."""
        return await self._ogmios.waiting()

    async def is_waiting(self, tx_id: TxId) -> bool:
        """See `ChainView`."""
        return await self._ogmios.is_waiting(tx_id)

    async def inclusion(self, tx_id: TxId) -> Inclusion | None:
        """See `ChainView`. Every transaction of ours has an output that Kupo follows, but Kupo may not have
        read it yet: then it is in the node's newest blocks."""
        newest = await self._kupo.newest()
        matches = await self._kupo.outputs(tx_id)
        if matches:
            made = matches[0].created_at
            block = await self._block(Point(made.slot_no, made.header_hash))
            if tx_id not in block.transactions:
                raise ChainMovedError
            return Inclusion(self._ref(block), tx_id not in block.failed)
        read = None if newest is None else Point(newest.slot_no, newest.header_hash)
        unread = await self._ogmios.blocks_after(read, _UNREAD_BLOCKS)
        if unread is None:
            raise ChainMovedError
        for block in unread:
            if tx_id in block.transactions:
                return Inclusion(self._ref(block), tx_id not in block.failed)
        return None

    async def spender(self, spent: OutRef) -> str | None:
        """See `ChainView`."""
        traced = await self.output(spent)
        return None if traced is None else traced.spender

    async def submit(self, raw: bytes) -> str:
        """See `ChainView`."""
        return await self._ogmios.submit(raw)

    async def evaluate(self, raw: bytes) -> dict[str, tuple[int, int]]:
        """See `ChainView`."""
        return await self._ogmios.evaluate(raw)

    async def close(self) -> None:
        """See `ChainView`."""
        await self._ogmios.close()
        await self._kupo.close()
