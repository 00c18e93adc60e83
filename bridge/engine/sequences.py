"""Which sequence (nonce) the next transaction of an account uses, reconciled between chain and store."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import structlog

from bridge.chains.actions import CancelAction
from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import ChainPort
from bridge.engine.actions import encode_action
from bridge.engine.intent_snapshot import IntentSnapshot
from bridge.engine.leased_store import LeasedStore
from bridge.protocol.types import Purpose
from bridge.store import Transaction
from bridge.store.records import Intent, PlannedIntent

log = structlog.get_logger("outbox")


def allocate(confirmed: int, held: Collection[int], floor: int) -> int:
    """Return the lowest free sequence: at least what the chain has confirmed, not held by a stored
    transaction that may still land, and so filling any gap first.

    `floor` is one more than the highest sequence that is known to be used up for good. Raises
    `PortUnavailableError` if the node reports a lower one: it lags behind, so its answer cannot be used.
    """
    if confirmed < floor:
        raise PortUnavailableError(
            f"the node says that sequence {confirmed} is next, but {floor - 1} is used up for good",
            "wait until the node has caught up, or use another node",
        )
    sequence = confirmed
    while sequence in held:
        sequence += 1
    return sequence


def gaps(confirmed: int, held: Collection[int]) -> list[int]:
    """Return the sequences that keep later, already signed ones from being included, lowest first."""
    if not held:
        return []
    return [sequence for sequence in range(confirmed, max(held)) if sequence not in held]


class SequenceAllocator:
    """Hands out the sequences of one account, and fills the gaps in them."""

    def __init__(self, store: LeasedStore, port: ChainPort) -> None:
        self._store = store
        self._port = port
        self._numbered: bool | None = None
        self._gaps: set[int] = set()
        """What was a gap at the end of the last pass."""

    @property
    def numbered(self) -> bool:
        """Whether the chain is known to number the transactions of an account."""
        return self._numbered is True

    async def learn(self) -> None:
        """Ask the chain once whether it numbers transactions. Raises `PortUnavailableError`."""
        if self._numbered is None:
            self._numbered = await self._port.next_sequence() is not None

    async def next(self) -> int | None:
        """Return a free sequence, None on a chain that has none. Raises `PortUnavailableError`."""
        confirmed = await self._port.next_sequence()
        self._numbered = confirmed is not None
        if confirmed is None:
            return None
        held, floor = await self._store.read(self._held)
        return allocate(confirmed, held, floor)

    async def fill_gaps(self, snapshots: Sequence[IntentSnapshot]) -> None:
        """Plan a transaction that does nothing for each sequence that nobody has used since the last pass: it
        blocks all later ones.

        A sequence whose transaction has just expired is left to the next pass, in which the same intent signs
        again and takes it. Otherwise each one that expires would add one to the queue, and where few land
        before they expire the real ones would never have their turn.
        """
        if not any(tx.sequence is not None for snapshot in snapshots for tx in snapshot.alive):
            return
        before, self._gaps = self._gaps, await self._unused()
        for sequence in sorted(self._gaps & before):
            await self._plan_filler(sequence)

    async def gap_of(self, filler: Intent) -> int | None:
        """Return the sequence that an intent of `fill_gaps` uses up, None if that is not a gap any more.
        Raises `PortUnavailableError`."""
        sequence = int(filler.subject.rpartition(":")[2])
        return sequence if sequence in await self._unused() else None

    async def _unused(self) -> set[int]:
        confirmed = await self._port.next_sequence()
        if confirmed is None:
            return set()
        held, _ = await self._store.read(self._held)
        return set(gaps(confirmed, held))

    async def _plan_filler(self, sequence: int) -> None:
        subject = f"gap:{self._port.account}:{sequence}"
        action = encode_action(CancelAction())
        planned = PlannedIntent(subject, Purpose.CANCEL, self._port.chain, action=action)
        if await self._store.write(lambda tx: tx.intents.plan(planned)):
            log.warning("sequence_gap", chain=self._port.chain, sequence=sequence)

    def _held(self, tx: Transaction) -> tuple[set[int], int]:
        chain, account = self._port.chain, self._port.account
        held = set(tx.transactions.pending_sequences(chain, account))
        return held, tx.transactions.settled_floor(chain, account)
