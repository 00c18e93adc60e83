"""Finds out whether the database is older than the chain, and reads the chain again for lost swaps.

What it cannot do now it does later: nothing here stops a claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
import structlog

from bridge.chains.errors import DeepReorgError, PortError
from bridge.chains.port import ChainPort
from bridge.engine.apply import retrying
from bridge.engine.metrics import Metrics
from bridge.engine.recovery import Rereading
from bridge.engine.unknown_locks import pause
from bridge.protocol.types import BlockHeight, BlockRef, UnixSeconds
from bridge.store import Store, Transaction
from bridge.store.repositories.recovery import AccountMark
from relayers.daemon.patience import still_waits

log = structlog.get_logger("recovery")

T = TypeVar("T")

SCANS_IN_A_PASS = 8
"""How many pieces of the chain one pass reads again: claims come after it."""
ACCOUNT_SECONDS = 60
"""How often the account's sequence is compared."""
PAUSE_SECONDS = 30
"""How long nothing is read again after the chain refused."""


class Restorer:
    """One chain's part in restoring swaps."""

    def __init__(self, port: ChainPort, store: Store, metrics: Metrics, max_blocks: int) -> None:
        """`max_blocks`: the most that one scan reads."""
        self._port = port
        self._store = store
        self._metrics = metrics
        self._max_blocks = max_blocks
        self._rereading = Rereading(store, port.chain)
        self._next_account_ms = 0
        self._not_before_ms = 0

    async def work(self) -> None:
        """Compare the account with its chain, then read the chain again as far as lost swaps need it."""
        now_ms = self._store.now_ms()
        if still_waits(now_ms, self._not_before_ms, PAUSE_SECONDS * 1000):
            return
        try:
            if not still_waits(now_ms, self._next_account_ms, ACCOUNT_SECONDS * 1000):
                await self._compare_account()
                self._next_account_ms = now_ms + ACCOUNT_SECONDS * 1000
            for _ in range(SCANS_IN_A_PASS):
                if not await self._read_on():
                    break
        except PortError as error:
            self._not_before_ms = now_ms + PAUSE_SECONDS * 1000
            self._metrics.errors.labels(self._port.chain, "restore").inc()
            log.error("chain_not_reread", chain=self._port.chain, reason=str(error), hint=error.hint)

    # -- the chain, again --------------------------------------------------------------------

    async def _read_on(self) -> bool:
        """Read the next piece; returns whether there is more."""
        chain = self._port.chain
        rescans, newest = await self._read(lambda tx: (tx.restorations.rescans(chain), tx.blocks.last(chain)))
        self._metrics.restoring.labels(chain).set(len(rescans))
        if not rescans or newest is None:
            return False
        lowest = rescans[0]
        if lowest.height >= newest.height:
            if await self._read(lambda tx: self._rereading.is_waiting(tx, rescans)):
                await self._write(lambda tx: self._rereading.take(tx, rescans, (), ()))
            return False
        start = BlockRef(BlockHeight(lowest.height), lowest.block_id, "", UnixSeconds(0))
        try:
            scan = await self._port.scan([start], self._max_blocks)
        except DeepReorgError:
            if not lowest.block_id:
                raise
            await self._write(lambda tx: tx.restorations.begin_again(chain))
            return True
        if scan.orphaned:
            await self._write(lambda tx: tx.restorations.begin_again(chain))
            return True
        blocks = [block for block in scan.blocks if block.height <= newest.height]
        if not blocks:
            return False
        events = [event for event in scan.events if event.block.height <= newest.height]
        await self._write(lambda tx: self._rereading.take(tx, rescans, blocks, events))
        return True

    # -- the account -------------------------------------------------------------------------

    async def _compare_account(self) -> None:
        """Alarm and pause if the chain has seen more of our account than this database has signed."""
        chain = self._port.chain
        unknown = await self._read(lambda tx: len(tx.unknown_locks.unresolved(chain)))
        self._metrics.unknown_locks.labels(chain).set(unknown)
        confirmed = await self._port.next_sequence()
        if confirmed is not None:
            await self._write(lambda tx: self._judge(tx, confirmed))

    def _judge(self, tx: Transaction, confirmed: int) -> None:
        """The chain was asked before the database: whatever was sent was stored earlier."""
        chain, account = self._port.chain, self._port.account
        mark = tx.accounts.mark(chain, account)
        if mark is None:
            tx.accounts.put(AccountMark(chain, account, confirmed, None))
            return
        if mark.alarmed is not None and tx.controls.get(f"pause:{chain}") is None:
            # An operator has resumed the chain: what was alarmed about is explained.
            mark = AccountMark(chain, account, max(mark.sequence, mark.alarmed), None)
            tx.accounts.put(mark)
        known = max(mark.sequence, tx.accounts.next_known(chain, account))
        if confirmed <= known or confirmed == mark.alarmed:
            return
        tx.accounts.put(msgspec.structs.replace(mark, alarmed=confirmed))
        log.critical(
            "unknown_transactions",
            chain=chain,
            account=account,
            known=known,
            on_chain=confirmed,
            hint="the database is older than the chain, or the key is used elsewhere: "
            "see docs/operations/restore.md",
        )
        pause(
            tx,
            chain,
            f"{account} has sent {confirmed - known} transactions that this database does not know",
        )

    async def _read(self, job: Callable[[Transaction], T]) -> T:
        def reading() -> T:
            with self._store.reading() as tx:
                return job(tx)

        return await asyncio.to_thread(reading)

    async def _write(self, job: Callable[[Transaction], T]) -> T:
        def locked(tx: Transaction) -> T:
            tx.lock("restore")  # of all chains: both of a swap's may finish it
            return job(tx)

        return await asyncio.to_thread(retrying, self._store, locked)
