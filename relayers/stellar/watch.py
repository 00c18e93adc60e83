"""From ledgers to HTLC events: which locks were made, claimed and refunded, and by which transactions.

Whole ledgers are read, failed transactions too: the events of all parties, complete and in order, from
nothing but the ring of known blocks (docs/decisions/0101).
"""

from __future__ import annotations

from collections.abc import Sequence

from stellar_sdk import StrKey, xdr

from bridge.chains.errors import DeepReorgError, PortUnavailableError
from bridge.chains.port import Claimed, HtlcEvent, Locked, Refunded, Revealed, Scan
from bridge.protocol.types import BlockRef, LockId, TxId
from relayers.stellar import htlc, recognition
from relayers.stellar.horizon import Horizon, Record
from relayers.stellar.htlc import Gate
from relayers.stellar.preimages import find_preimage, preimages_in
from relayers.stellar.settings import StellarSettings


class Watch:
    """Reads ledgers and remembers the locks it has seen, as a cache: whatever it lacks it looks up."""

    def __init__(self, horizon: Horizon, settings: StellarSettings) -> None:
        self._horizon = horizon
        self._settings = settings
        self._passphrase = settings.passphrase
        self._gates: dict[str, Gate] = {}
        """Locks by claimable balance id."""

    def remember(self, gate: Gate) -> None:
        """Keep a lock that was found elsewhere."""
        self._gates[gate.balance_id] = gate

    def gates(self, lock_id: LockId) -> list[Gate]:
        """Return the locks of that name seen so far, newest last."""
        return [
            each for each in self._gates.values() if htlc.lock_id(each.terms, self._passphrase) == lock_id
        ]

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`."""
        tip = await self._horizon.tip()
        head = tip.block
        if not recent_blocks:
            return Scan((), (head,), await self._events([head]), tip)
        index = await self._common_ancestor(recent_blocks, head)
        if index is None:
            return Scan((), (), (), tip)
        ancestor = (
            recent_blocks[index]
            if recent_blocks[index].id
            else await self._ledger_at(recent_blocks[index].height, head)
        )
        last = min(head.height, ancestor.height + max_blocks)
        blocks = await self._horizon.ledgers(ancestor.height + 1, last)
        parent = ancestor
        for block in blocks:
            if block.parent != parent.id or block.height != parent.height + 1:
                raise PortUnavailableError(
                    "Horizon's ledgers do not follow one another", "it may be catching up"
                )
            parent = block
        events = await self._events(blocks)
        return Scan(tuple(reversed(recent_blocks[index + 1 :])), tuple(blocks), events, tip)

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

    async def _events(self, blocks: Sequence[BlockRef]) -> tuple[HtlcEvent, ...]:
        if not blocks:
            return ()
        by_height = {block.height: block for block in blocks}
        records = await self._horizon.transactions(blocks[0].height, blocks[-1].height)
        events: list[HtlcEvent] = []
        for record in records:
            envelope = xdr.TransactionEnvelope.from_xdr(record["envelope_xdr"])
            block = by_height[record["ledger"]]
            if record["successful"]:
                events += await self._events_of(envelope, record["hash"], block)
            else:
                events += [Revealed(block, record["hash"], shown) for shown in preimages_in(envelope)]
        return tuple(events)

    async def _events_of(
        self, envelope: xdr.TransactionEnvelope, tx_id: TxId, block: BlockRef
    ) -> list[HtlcEvent]:
        made = recognition.read_lock(envelope, block.height, self._settings)
        if made is not None:
            self.remember(made)
            return [Locked(block, tx_id, htlc.lock_id(made.terms, self._passphrase), made.terms)]
        events: list[HtlcEvent] = []
        for claimer, balance_id in claims_in(envelope):
            gate = self._gates.get(balance_id) or await self.look_up(balance_id)
            if gate is None:
                continue
            self.remember(gate)
            name = htlc.lock_id(gate.terms, self._passphrase)
            preimage = find_preimage(envelope, gate.terms.hashlock)
            # A preimage in the open makes it a claim, no matter who was paid: it opens the other leg too.
            if claimer == gate.address and preimage is not None:
                events.append(Claimed(block, tx_id, name, preimage))
            elif claimer == gate.terms.sender:
                events.append(Refunded(block, tx_id, name))
            elif claimer == gate.address:
                # The sender, who alone has the gate's key, made the gate again after reclaiming it and
                # claimed as the gate: another way of the same refund.
                events.append(Refunded(block, tx_id, name))
        return events

    async def look_up(self, balance_id: str) -> Gate | None:
        """Return the lock that a claimable balance belongs to, from the transaction that made it."""
        history = await self._horizon.balance_transactions(balance_id)
        return self.gate_in(history[0]) if history else None

    def gate_in(self, record: Record) -> Gate | None:
        """Return the lock that a recorded transaction made, if it made one."""
        if not record["successful"]:
            return None
        envelope = xdr.TransactionEnvelope.from_xdr(record["envelope_xdr"])
        return recognition.read_lock(envelope, record["ledger"], self._settings)


def claims_in(envelope: xdr.TransactionEnvelope) -> list[tuple[str, str]]:
    """Return claimer and balance id of each claim of a claimable balance in a transaction."""
    inner = recognition.inner_transaction(envelope)
    found = []
    for operation in inner.operations:
        body = operation.body.claim_claimable_balance_op
        if body is None or body.balance_id.v0 is None:
            continue
        source = operation.source_account
        if source is not None:
            claimer = _address(source)
        elif isinstance(inner, xdr.Transaction):
            claimer = _address(inner.source_account)
        else:
            claimer = StrKey.encode_ed25519_public_key(inner.source_account_ed25519.uint256)
        found.append((claimer, "00000000" + body.balance_id.v0.hash.hex()))
    return found


def _address(account: xdr.MuxedAccount) -> str:
    key = account.med25519.ed25519 if account.med25519 is not None else account.ed25519
    if key is None:
        raise ValueError("an account of an unknown kind")
    return StrKey.encode_ed25519_public_key(key.uint256)
