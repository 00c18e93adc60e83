"""The chain as a Blockfrost service shows it; a `relayers.cardano.chain_view.ChainView`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set

import msgspec
from pycardano import ProtocolParameters

from bridge.chains.endpoints.ancestry import DISTANCES
from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.recent_blocks import newest_common
from bridge.protocol.types import BlockHeight, BlockRef, TxId
from relayers.cardano.blockfrost import Blockfrost
from relayers.cardano.blockfrost_wire import TxAt, TxPlace
from relayers.cardano.cbor_items import CborError
from relayers.cardano.chain_view import (
    NOWHERE,
    ChainMovedError,
    HtlcTx,
    Inclusion,
    NetworkId,
    Output,
    OutRef,
    TooMuchToReadError,
    Traced,
    Waiting,
)
from relayers.cardano.hosted_items import each, made_by, ordinary, output_of, spender_of, spent_by
from relayers.cardano.htlc import credential, key_credential
from relayers.cardano.parameters import parse_parameters
from relayers.cardano.raw_tx import RawTx, id_of_bytes, read_tx
from relayers.cardano.script import validator_hash

_KEPT_TRANSACTIONS = 2_000
_MOST_READ = 2_000
"""How many transactions are read to learn what became of one lock."""
_MOST_NEW = 300
"""How many new transactions are read one by one before all unspent outputs are listed instead."""
_SAMPLE = 100
"""Transactions among which one is looked for that a route can be tried with."""
_MOST_REDEEMING = 50
"""How many transactions with redeemers are looked up in one scan for those that failed: strangers can make
any number, and what these show is a gift to us and nothing that a swap waits for."""


class HostedView:
    """Blockfrost. Contents of transactions never change, so they are kept."""

    def __init__(self, blockfrost: Blockfrost) -> None:
        self._blockfrost = blockfrost
        self._contents: dict[str, HtlcTx] = {}
        self._places: dict[str, TxPlace] = {}
        self._elsewhere: tuple[tuple[str, ...], dict[str, TxPlace]] = ((), {})
        """Places of transactions outside some blocks: as long as those stand, none of these moves there."""
        self._read_items = 0
        self._lists_locks = self._knows_datums = self._shows_places = False

    def watch_connections(self, opened: Callable[[], None]) -> None:
        """Have `opened` called whenever a connection was opened."""
        self._blockfrost.http.on_connect = opened

    async def network(self) -> NetworkId:
        """See `ChainView`."""
        genesis = await self._blockfrost.genesis()
        return NetworkId(genesis.network_magic, genesis.system_start)

    async def parameters(self) -> ProtocolParameters:
        """See `ChainView`."""
        raw = await self._blockfrost.parameters()
        try:
            return parse_parameters(raw)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._wrong("shows protocol parameters in an unknown form", "a hard fork?") from error

    # ------------------------------------------------------------------ blocks

    async def head(self) -> BlockRef:
        """See `ChainView`."""
        return (await self._blockfrost.head()).ref

    async def newest_blocks(self) -> Sequence[BlockRef]:
        """See `ChainView`."""
        head = (await self._blockfrost.head()).ref
        heights = [head.height - back for back in DISTANCES if 0 < back < head.height]
        found = [await self._blockfrost.block(str(height)) for height in heights]
        return [head, *(block.ref for block in found if block is not None)]

    async def shows(self, block: BlockRef) -> bool:
        """See `ChainView`. By its hash: blocks that have left the chain are not kept."""
        return await self._blockfrost.block(block.id) is not None

    async def newest_known(
        self, recent_blocks: Sequence[BlockRef], head: BlockRef
    ) -> tuple[int | None, BlockRef | None]:
        """See `ChainView`. Looks at the oldest first, which mostly stands, and then from the newest down."""
        canonical = {head.height: head.id}
        ring = list(recent_blocks)
        for index in (0, *range(len(ring) - 1, 0, -1)):
            height = ring[index].height
            if height not in canonical and height <= head.height:
                block = await self._blockfrost.block(str(height))
                if block is None:
                    raise ChainMovedError
                canonical[height] = block.hash
                if not ring[index].id:
                    ring[index] = block.ref
            elif not ring[index].id and height == head.height:
                ring[index] = head
            matches = canonical.get(height) == ring[index].id
            if (index == 0 and not matches) or (index > 0 and matches):
                break
        found = newest_common(ring, canonical, head)
        return (None, None) if found is None else (found, ring[found])

    async def blocks_after(self, block: BlockRef, count: int) -> list[BlockRef]:
        """See `ChainView`."""
        following = await self._blockfrost.blocks_after(block.id, count)
        if following is None:
            raise ChainMovedError
        return [block.ref for block in following]

    # ------------------------------------------------------------------ what happened to locks

    async def activity(self, blocks: Sequence[BlockRef]) -> list[HtlcTx]:
        """See `ChainView`."""
        before = self._read_items
        try:
            return await self._activity(blocks)
        except EndpointError as error:
            # What was read is kept: the next try goes on from there.
            error.progress |= self._read_items > before
            raise

    async def _activity(self, blocks: Sequence[BlockRef]) -> list[HtlcTx]:
        by_height: dict[int, BlockRef] = {ref.height: ref for ref in blocks}
        first, last = blocks[0].height, blocks[-1].height
        touching = await self._blockfrost.transactions_at(credential(), first, last)

        async def read(tx: TxAt) -> tuple[int, int, HtlcTx]:
            ref = by_height.get(tx.block_height)
            if ref is None:
                raise ChainMovedError
            place = await self._place(tx.tx_hash, ref)
            content = await self._content(tx.tx_hash, ref, failed=not place.valid_contract)
            return tx.block_height, tx.tx_index, content

        found = await each(touching, read)
        found += await self._failures(by_height, {tx.tx_hash for tx in touching})
        if await self._blockfrost.block(blocks[-1].id) is None:
            raise ChainMovedError
        return [tx for _, _, tx in sorted(found, key=lambda entry: entry[:2])]

    async def _place(self, tx_id: TxId, block: BlockRef) -> TxPlace:
        """Return where a transaction stands, which must be this block. Raises `ChainMovedError`."""
        kept = self._places.get(tx_id)
        if kept is None or kept.block != block.id:
            kept = await self._blockfrost.place(tx_id)
            if kept is None or kept.block != block.id:
                raise ChainMovedError
            self._keep_place(tx_id, kept)
        return kept

    def _keep_place(self, tx_id: TxId, place: TxPlace) -> None:
        if self._places.get(tx_id) == place:
            return  # nothing new: it must not count as progress
        if len(self._places) >= _KEPT_TRANSACTIONS:
            self._places.pop(next(iter(self._places)))
        self._places[tx_id] = place
        self._read_items += 1

    async def _failures(
        self, blocks: Mapping[int, BlockRef], known: Set[str]
    ) -> list[tuple[int, int, HtlcTx]]:
        """Return transactions in blocks that tried to spend locks and failed, with their places. They touch
        no lock, so the service lists them only among those that had a redeemer for the validator."""
        window = tuple(ref.id for ref in blocks.values())
        if self._elsewhere[0] != window:
            self._elsewhere = window, {}
        elsewhere = self._elsewhere[1]
        found: list[tuple[int, int, HtlcTx]] = []
        looked_at = set(known)
        async for tx_id in self._blockfrost.newest_redeeming(validator_hash().payload.hex()):
            if tx_id in looked_at:
                continue
            looked_at.add(tx_id)
            # Remembered places in these blocks alone are sure: from any other it may have moved since, but
            # not into these blocks since they were read.
            place = self._places.get(tx_id)
            there = None if place is None else blocks.get(place.block_height)
            if place is None or there is None or there.id != place.block:
                place = elsewhere.get(tx_id)
            if place is None:
                place = await self._blockfrost.place(tx_id)
                if place is None:
                    raise ChainMovedError
                elsewhere[tx_id] = place
                self._keep_place(tx_id, place)
                self._read_items += 1
            if place.block_height < min(blocks) or len(looked_at) - len(known) > _MOST_REDEEMING:
                break
            ref = blocks.get(place.block_height)
            if ref is not None and not place.valid_contract:
                if place.block != ref.id:
                    raise ChainMovedError
                content = await self._content(tx_id, ref, failed=True)
                found.append((place.block_height, place.index, content))
        return found

    async def past_activity(
        self,
        wanted: Callable[[Output], bool],  # noqa: ARG002 - the service cannot look for locks by their terms
        digest: str,
        since: BlockHeight | None,
    ) -> AsyncIterator[HtlcTx]:
        """See `ChainView`. Without a block to begin at, a datum that the chain has never seen answers at
        once; else the validator's transactions are read from the newest backwards."""
        if since is None and not await self._blockfrost.knows_datum(digest):
            return
        read = 0
        async for page in self._blockfrost.newest_transactions_at(credential(), since or 0):
            for tx in page:
                read += 1
                if read > _MOST_READ:
                    raise TooMuchToReadError
                place = await self._blockfrost.place(tx.tx_hash)
                if place is None:
                    raise ChainMovedError
                if place.valid_contract:
                    yield await self._content(tx.tx_hash, NOWHERE)

    async def covers(self, since: BlockHeight | None, account: str, digest: str) -> bool:
        """See `ChainView`. A compatible service may lack a route, and then answers as if nothing were there:
        each is tried with something that is known to be there."""
        if await self._blockfrost.block(str(since or 1)) is None:
            return False
        self._lists_locks = self._lists_locks or bool(await self._newest_at(credential()))
        if not self._lists_locks:
            # Nothing at the validator at all: so it is if nothing speaks against it, and another credential's
            # transactions are listed.
            listed = await self._newest_at(key_credential(account))
            seen = await self._blockfrost.knows_datum(digest) or await self._blockfrost.utxos(credential())
            return bool(listed) and not seen
        if since is not None:
            return True
        if not self._knows_datums:
            self._knows_datums = await self._shows_datums(await self._newest_at(credential()))
        return self._knows_datums

    async def _newest_at(self, place: str) -> list[TxAt]:
        async for page in self._blockfrost.newest_transactions_at(place):
            return page[:_SAMPLE]
        return []

    async def _shows_datums(self, sample: Sequence[TxAt]) -> bool:
        """Tell whether the service has the datums of what it lists; where there are none, none is missing."""
        if not sample:
            return True
        for tx in sample:
            content = await self._content(tx.tx_hash, NOWHERE)
            for output in (*content.made, *(spent.output for spent in content.spent)):
                if output.datum_hash is not None and output.inline_datum is not None:
                    return await self._blockfrost.knows_datum(output.datum_hash)
        return False

    async def knows_transactions(self, since: BlockHeight | None, account: str) -> bool:
        """See `ChainView`."""
        if await self._blockfrost.block(str(since or 1)) is None:
            return False
        if not self._shows_places:
            for tx in (await self._newest_at(account))[:1]:
                self._shows_places = await self._blockfrost.place(tx.tx_hash) is not None
        return self._shows_places

    async def output(self, ref: OutRef) -> Traced | None:
        """See `ChainView`."""
        made = await self._blockfrost.outputs(TxId(ref[0]))
        for output in made.outputs if made is not None else ():
            if output.output_index == ref[1]:
                return Traced(output_of(output, TxId(ref[0])), spender_of(output))
        return None

    async def spending(self, traced: Traced) -> HtlcTx:
        """See `ChainView`."""
        place = None if traced.spender is None else await self._blockfrost.place(traced.spender)
        if traced.spender is None or place is None or not place.valid_contract:
            raise ChainMovedError
        return await self._content(traced.spender, NOWHERE)

    async def made_after(self, block: BlockRef) -> list[Output] | None:
        """See `ChainView`."""
        if await self._blockfrost.block(block.id) is None:
            return None
        head = await self._blockfrost.head()
        if head.height <= block.height:
            return []
        new = await self._blockfrost.transactions_at(credential(), block.height + 1, head.height)
        if len(new) > _MOST_NEW:
            return None
        return [output for tx in new for output in (await self._content(tx.tx_hash, NOWHERE)).made]

    def _wrong(self, what: str, hint: str = "use another service") -> EndpointError:
        return EndpointError(f"{self._blockfrost.name} {what}", hint, kind=Answer.WRONG)

    async def _content(self, tx_id: TxId, block: BlockRef, *, failed: bool = False) -> HtlcTx:
        found = self._contents.get(tx_id)
        if found is None:
            found = await self._read(tx_id, failed=failed)
            if found.unreadable:
                return msgspec.structs.replace(found, block=block)
            if len(self._contents) >= _KEPT_TRANSACTIONS:
                self._contents.pop(next(iter(self._contents)))
            self._contents[tx_id] = found
            self._read_items += 1
        return msgspec.structs.replace(found, block=block)

    async def _read(self, tx_id: TxId, *, failed: bool) -> HtlcTx:
        """Return what a transaction did: its outputs as the service resolves them, and what is in its own
        bytes. Bytes that cannot be read are set aside; a service that shows others is not believed."""
        outputs, raw = await asyncio.gather(self._blockfrost.outputs(tx_id), self._blockfrost.raw(tx_id))
        if outputs is None or raw is None:
            raise ChainMovedError
        unreadable, tx = "", RawTx((), {}, None, frozenset(), ())
        try:
            if id_of_bytes(raw) != tx_id:
                raise self._wrong("shows the bytes of another transaction")
        except CborError as error:
            raise self._wrong("shows something other than a transaction") from error
        try:
            tx = read_tx(raw)
        except CborError as error:
            unreadable = f"its bytes cannot be read: {error}"
        if tx.inputs and not failed and tuple(spent.ref for spent in ordinary(outputs)) != tx.inputs:
            raise self._wrong("shows other inputs than the transaction has")
        spent = () if failed else spent_by(outputs, tx)
        made = () if failed else made_by(outputs)
        return HtlcTx(tx_id, NOWHERE, spent, made, tx.start, tx.signers, tx.shown, failed, unreadable)

    # ------------------------------------------------------------------ outputs and transactions

    async def utxos(self, place: str) -> list[Output]:
        """See `ChainView`."""
        return [output_of(output, output.tx_hash) for output in await self._blockfrost.utxos(place)]

    async def decimals(self, unit: str) -> dict[str, int] | None:
        """See `ChainView`. A compatible service may lack the route."""
        token = await self._blockfrost.token(unit)
        return None if token is None else token.decimals

    async def waiting(self, address: str) -> list[Waiting]:
        """See `ChainView`."""
        ids = await self._blockfrost.waiting_at(address)
        found = await asyncio.gather(*(self._blockfrost.waiting(tx_id) for tx_id in ids))
        return [
            Waiting(
                tuple((spent.tx_hash, spent.output_index) for spent in tx.inputs if not spent.reference),
                tuple(output_of(output, tx_id) for output in tx.outputs),
            )
            for tx_id, tx in zip(ids, found, strict=True)
            if tx is not None  # else it has just been included
        ]

    async def is_waiting(self, tx_id: TxId) -> bool:
        """See `ChainView`."""
        return await self._blockfrost.waiting(tx_id) is not None

    async def inclusion(self, tx_id: TxId) -> Inclusion | None:
        """See `ChainView`."""
        place = await self._blockfrost.place(tx_id)
        if place is None:
            return None
        block = await self._blockfrost.block(place.block)
        if block is None:
            raise ChainMovedError
        return Inclusion(block.ref, place.valid_contract)

    async def spender(self, spent: OutRef) -> str | None:
        """See `ChainView`."""
        traced = await self.output(spent)
        return None if traced is None else traced.spender

    async def submit(self, raw: bytes) -> str:
        """See `ChainView`."""
        return await self._blockfrost.submit(raw)

    async def evaluate(self, raw: bytes) -> dict[str, tuple[int, int]]:
        """See `ChainView`."""
        return await self._blockfrost.evaluate(raw)

    async def close(self) -> None:
        """See `ChainView`."""
        await self._blockfrost.close()
