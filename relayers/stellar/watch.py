"""From ledgers to HTLC events: which locks were made, claimed and refunded, and by which transactions.

Whole ledgers are read, failed transactions too: the events of all parties, complete and in order, from
nothing but the ring of known blocks (docs/decisions/0101, 0145). A scan asks one endpoint, a few times for
each range of ledgers, however many strangers use the contract in them.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.json_rpc import JsonRpc, OneEndpoint
from bridge.chains.errors import DeepReorgError
from bridge.chains.port import HtlcEvent, Scan, SetAside, Tip
from bridge.protocol.types import BlockRef
from relayers.stellar.ledgers import (
    FIRST_LEDGER,
    Applied,
    ChainMovedError,
    History,
    Ledger,
    read_ledgers,
    read_tip,
    read_transactions,
)
from relayers.stellar.reading import Reader, UnprovenError
from relayers.stellar.rpc import ask
from relayers.stellar.settings import StellarSettings


class Watch:
    """Reads the ledgers of a network and what they say of one contract."""

    def __init__(self, rpc: JsonRpc, settings: StellarSettings) -> None:
        self._rpc = rpc
        self._passphrase = settings.passphrase
        self.reader = Reader(settings)

    async def tip(self) -> Tip:
        """Return the newest ledger."""
        tip, _ = await self._rpc.pinned(read_tip)
        return tip

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`."""
        return await self._rpc.reread(lambda one: self._scan(one, recent_blocks, max_blocks), ChainMovedError)

    async def _scan(self, one: OneEndpoint, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        tip, newest = await read_tip(one)
        head = tip.block
        if recent_blocks and recent_blocks[-1].id == head.id:
            return Scan((), (), (), tip)
        if not recent_blocks:
            transactions = await read_transactions(one, [newest], self._passphrase)
            return self._told((), [newest], transactions, tip, one.name)
        index = await self._common_ancestor(one, recent_blocks, head)
        if index is None:
            return Scan((), (), (), tip)
        ancestor = recent_blocks[index]
        last = min(head.height, ancestor.height + max_blocks)
        ledgers = await read_ledgers(one, max(FIRST_LEDGER, ancestor.height + 1), last)
        if ledgers and ancestor.id and ledgers[0].block.parent != ancestor.id:
            raise ChainMovedError
        orphaned = tuple(reversed(recent_blocks[index + 1 :]))
        transactions = await read_transactions(one, ledgers, self._passphrase)
        return self._told(orphaned, ledgers, transactions, tip, one.name)

    async def _common_ancestor(
        self, one: OneEndpoint, recent_blocks: Sequence[BlockRef], head: BlockRef
    ) -> int | None:
        """Return the index of the newest known block that is in the chain; None if the endpoint is merely
        behind. Stellar does not reorganise, but a restored or lying endpoint looks as if it did."""
        oldest = int((await ask(one, "getHealth"))["oldestLedger"])
        history = History(oldest, head.height)
        seen = False
        for index in range(len(recent_blocks) - 1, -1, -1):
            block = recent_blocks[index]
            if block.height > head.height:
                continue
            if not block.id and history.covers(block.height + 1):  # any ledger will do, and the next is kept
                return index
            if block.height < oldest:
                break
            seen = True
            (here,) = await read_ledgers(one, block.height, block.height)
            if block.id in ("", here.block.id):
                behind = block.height == head.height and index < len(recent_blocks) - 1
                return None if behind else index
        if not seen:
            raise EndpointError(
                f"{one.name} keeps ledgers from {oldest} on, and what was seen last is older",
                "use an endpoint that keeps more history: what happened in between is not known",
                kind=Answer.PERMANENT,
            )
        raise DeepReorgError(
            "the RPC shares no ledger with what was seen before",
            "is it the right network, complete, and not restored from an old backup?",
        )

    def _told(
        self,
        orphaned: tuple[BlockRef, ...],
        ledgers: Sequence[Ledger],
        transactions: Sequence[Sequence[Applied]],
        tip: Tip,
        name: str,
    ) -> Scan:
        events: list[HtlcEvent] = []
        aside: list[SetAside] = []
        for ledger, applied in zip(ledgers, transactions, strict=False):
            for each in applied:
                try:
                    read = self.reader.read(each, ledger.block)
                except UnprovenError as error:
                    raise EndpointError(
                        f"{name}: {error}", "use another endpoint", kind=Answer.WRONG
                    ) from error
                events += read.events
                if read.aside is not None:
                    aside.append(read.aside)
        blocks = tuple(each.block for each in ledgers[: len(transactions)])
        return Scan(orphaned, blocks, tuple(events), tip, tuple(aside))
