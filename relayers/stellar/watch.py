"""From ledgers to HTLC events: which locks were made, claimed and refunded, and by which transactions.

Whole ledgers are read, failed transactions too: the events of all parties, complete and in order, from
nothing but the ring of known blocks (docs/decisions/0101).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stellar_sdk import StrKey

from bridge.chains.errors import DeepReorgError, PortUnavailableError
from bridge.chains.port import Claimed, HtlcEvent, Locked, LockStatus, Refunded, Scan, SetAside, Spent, Tip
from bridge.chains.preimages import revealed
from bridge.protocol.types import BlockRef, LockId, TxId
from relayers.stellar import htlc, recognition
from relayers.stellar.envelopes import Envelope, UnreadableError, read_envelope
from relayers.stellar.horizon import Horizon, Record, block_ref, transactions_of, unix_time
from relayers.stellar.htlc import Gate
from relayers.stellar.preimages import opening_in_bytes, secrets_in
from relayers.stellar.settings import StellarSettings
from relayers.stellar.spends import Spend, change_of, claims_in, end_of


@dataclass(frozen=True)
class _Read:
    """What was read of ledgers, as in `Scan`."""

    blocks: tuple[BlockRef, ...]
    events: tuple[HtlcEvent, ...]
    set_aside: tuple[SetAside, ...]


class Watch:
    """Reads ledgers and remembers the locks it has seen, as a cache: whatever it lacks it looks up."""

    def __init__(self, horizon: Horizon, settings: StellarSettings) -> None:
        self._horizon = horizon
        self._settings = settings
        self._passphrase = settings.passphrase
        self._gates: dict[str, Gate] = {}
        """Locks by claimable balance id."""
        self._names: dict[bytes, list[Gate]] = {}
        """Locks by what a transaction must name to touch them: the gate's key, the balance's hash."""
        self._hashlocks: set[bytes] = set()
        self._ends: dict[str, int] = {}
        """Where in the ledger's history (Horizon's paging token) a balance was ended."""

    def remember(self, gate: Gate) -> None:
        """Keep a lock that was found elsewhere."""
        if gate.balance_id in self._gates:
            return
        self._gates[gate.balance_id] = gate
        self._hashlocks.add(gate.terms.hashlock)
        for name in (StrKey.decode_ed25519_public_key(gate.address), bytes.fromhex(gate.balance_id[8:])):
            self._names.setdefault(name, []).append(gate)

    def gates(self, lock_id: LockId) -> list[Gate]:
        """Return the locks of that name seen so far, newest last."""
        return [
            each for each in self._gates.values() if htlc.lock_id(each.terms, self._passphrase) == lock_id
        ]

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`."""
        newest = await self._horizon.newest_ledger()
        head = block_ref(newest)
        tip = Tip(head, head.time)
        if not recent_blocks:
            read = await self._read([newest])
            return Scan((), read.blocks, read.events, tip, read.set_aside)
        index = await self._common_ancestor(recent_blocks, head)
        if index is None:
            return Scan((), (), (), tip)
        ancestor = (
            recent_blocks[index]
            if recent_blocks[index].id
            else await self._ledger_at(recent_blocks[index].height, head)
        )
        last = min(head.height, ancestor.height + max_blocks)
        ledgers = await self._horizon.ledgers(ancestor.height + 1, last)
        parent = ancestor
        for block in map(block_ref, ledgers):
            if block.parent != parent.id or block.height != parent.height + 1:
                raise PortUnavailableError(
                    "Horizon's ledgers do not follow one another", "it may be catching up"
                )
            parent = block
        read = await self._read(ledgers)
        orphaned = tuple(reversed(recent_blocks[index + 1 :]))
        return Scan(orphaned, read.blocks, read.events, tip, read.set_aside)

    async def _ledger_at(self, height: int, head: BlockRef) -> BlockRef:
        found = head if height == head.height else await self._horizon.ledger(height)
        if found is None:
            raise PortUnavailableError(f"Horizon does not have ledger {height}", "use one with more history")
        return found

    async def _common_ancestor(self, recent_blocks: Sequence[BlockRef], head: BlockRef) -> int | None:
        """Return the index of the newest known block that is in the chain; None if Horizon is merely behind.

        Stellar does not reorganise, but a restored or lying Horizon looks as if it did.
        """
        for index in range(len(recent_blocks) - 1, -1, -1):
            block = recent_blocks[index]
            if block.height > head.height:
                continue
            here = head if block.height == head.height else await self._horizon.ledger(block.height)
            if here is not None and block.id in ("", here.id):
                behind = block.height == head.height and index < len(recent_blocks) - 1
                return None if behind else index
        raise DeepReorgError(
            "Horizon shares no ledger with what was seen before",
            "is it the right network, complete, and not restored from an old backup?",
        )

    async def _read(self, ledgers: Sequence[Record]) -> _Read:
        """Read ledgers up to the first whose transactions Horizon does not show in full: its lists of
        ledgers and of transactions may come from databases that lag one behind the other."""
        if not ledgers:
            return _Read((), (), ())
        first, last = (block_ref(each).height for each in (ledgers[0], ledgers[-1]))
        by_ledger: dict[int, list[Record]] = {}
        for record in await self._horizon.transactions(first, last):
            by_ledger.setdefault(record["ledger"], []).append(record)
        blocks: list[BlockRef] = []
        events: list[HtlcEvent] = []
        aside: list[SetAside] = []
        for ledger in ledgers:
            block = block_ref(ledger)
            records = by_ledger.get(block.height, [])
            shown, wanted = len({each["hash"] for each in records}), transactions_of(ledger)
            if shown != wanted:
                if blocks:
                    break
                raise PortUnavailableError(
                    f"Horizon shows {shown} of the {wanted} transactions of ledger {block.height}",
                    "it may be catching up; if this stays, use another Horizon",
                )
            blocks.append(block)
            for record in records:
                await self._read_record(record, block, events, aside)
        return _Read(tuple(blocks), tuple(events), tuple(aside))

    async def _read_record(
        self, record: Record, block: BlockRef, events: list[HtlcEvent], aside: list[SetAside]
    ) -> None:
        try:
            envelope = read_envelope(record)
        except UnreadableError as error:
            named = self._named(error.raw)
            ids = tuple(htlc.lock_id(each.terms, self._passphrase) for each in named)
            aside.append(SetAside(block, record["hash"], str(error), ids))
            events += revealed(block, record["hash"], opening_in_bytes(error.raw, self._hashlocks))
        else:
            events += await self._events_of(envelope, record, block)

    def _named(self, raw: bytes) -> list[Gate]:
        """Return the known locks that an envelope names, wherever: XDR puts all at multiples of four."""
        found: dict[str, Gate] = {}
        for at in range(0, len(raw) - 31, 4):
            found.update({gate.balance_id: gate for gate in self._names.get(raw[at : at + 32], ())})
        return list(found.values())

    async def _events_of(self, read: Envelope, record: Record, block: BlockRef) -> list[HtlcEvent]:
        envelope, tx_id = read.envelope, record["hash"]
        spends: list[tuple[Gate, Spend]] = []
        made = None
        if record["successful"]:
            made = recognition.read_lock(envelope, block.height, self._settings)
            if made is not None:
                self.remember(made)
            for _, balance_id in claims_in(envelope):
                gate = self._gates.get(balance_id) or await self.look_up(balance_id)
                if gate is not None:
                    self.remember(gate)
        named = [each for each in self._named(read.raw) if made is None or each != made]
        for gate in named if record["successful"] else ():
            spend = await self._spend(read, gate, record, block)
            if spend is not None:
                spends.append((gate, spend))
        told = {spend.preimage for _, spend in spends}
        shown = secrets_in(envelope, self._hashlocks)
        events: list[HtlcEvent] = [
            each for each in revealed(block, tx_id, shown) if each.preimage not in told
        ]
        if made is not None:
            name = htlc.lock_id(made.terms, self._passphrase)
            events.append(Locked(block, tx_id, name, made.terms))
        return [*events, *(self._event(gate, spend, tx_id, block) for gate, spend in spends)]

    def _event(self, gate: Gate, spend: Spend, tx_id: TxId, block: BlockRef) -> HtlcEvent:
        name = htlc.lock_id(gate.terms, self._passphrase)
        if spend.status is LockStatus.CLAIMED and spend.preimage is not None:
            return Claimed(block, tx_id, name, spend.preimage)
        if spend.status is LockStatus.REFUNDED:
            return Refunded(block, tx_id, name)
        return Spent(block, tx_id, name, spend.reason)

    async def _spend(self, read: Envelope, gate: Gate, record: Record, block: BlockRef) -> Spend | None:
        """Tell what a successful transaction that names a gate did to its lock."""
        at = int(record["paging_token"])
        spend = end_of(read.envelope, gate, block.time)
        if spend is not None:
            self._ends[gate.balance_id] = at
            return spend
        spend = change_of(read.envelope, gate, self._passphrase)
        if spend is None or await self._ended_before(gate, at):
            return None  # a gate whose balance is gone holds its deposit alone
        return spend

    async def _ended_before(self, gate: Gate, at: int) -> bool:
        if gate.balance_id not in self._ends:
            for record in await self._horizon.balance_transactions(gate.balance_id):
                if end_in(record, gate) is not None:
                    self._ends[gate.balance_id] = int(record["paging_token"])
        return gate.balance_id in self._ends and self._ends[gate.balance_id] < at

    async def look_up(self, balance_id: str) -> Gate | None:
        """Return the lock that a claimable balance belongs to, from the transaction that made it."""
        history = await self._horizon.balance_transactions(balance_id)
        return self.gate_in(history[0]) if history else None

    def gate_in(self, record: Record) -> Gate | None:
        """Return the lock that a recorded transaction made, if it made one."""
        if not record["successful"]:
            return None
        try:
            envelope = read_envelope(record).envelope
        except UnreadableError:
            return None  # nobody's wallet makes locks in a form that this software does not know
        return recognition.read_lock(envelope, record["ledger"], self._settings)


def end_in(record: Record, gate: Gate) -> Spend | None:
    """Tell how a recorded transaction ended a lock's balance, None if it did not. One that cannot be decoded
    counts as SPENT: it proves nothing."""
    if not record["successful"]:
        return None
    try:
        envelope = read_envelope(record).envelope
    except UnreadableError as error:
        return Spend(LockStatus.SPENT, str(error))
    return end_of(envelope, gate, unix_time(record["created_at"]))
