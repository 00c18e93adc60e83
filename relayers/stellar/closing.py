"""Closing the gates of spent locks, so that their deposits come in.

Both ways use the gate's own sequence and our fee bump, so they disturb none of our other transactions; both
are the same each time they are made, and worthless once done.
"""

from __future__ import annotations

from stellar_sdk import Keypair, Preconditions, TimeBounds, Transaction, TransactionEnvelope

from bridge.protocol.types import LockTerms
from relayers.port import SignedTx
from relayers.stellar import fees, htlc
from relayers.stellar.assets import stroops
from relayers.stellar.building import Builder, line_of
from relayers.stellar.horizon import Horizon, Record, close_time
from relayers.stellar.htlc import Gate
from relayers.stellar.locks import Locks
from relayers.stellar.settings import StellarSettings


class Closing:
    """Closes gates of locks that we made or received."""

    def __init__(
        self, horizon: Horizon, settings: StellarSettings, key: Keypair, locks: Locks, builder: Builder
    ) -> None:
        self._horizon = horizon
        self._settings = settings
        self._key = key
        self._locks = locks
        self._builder = builder

    async def prepare(self, terms: LockTerms) -> SignedTx | None:
        """Return the closing transaction of a spent lock's gate, None while there is none to make."""
        own = self._builder.gate_key(terms).public_key if terms.sender == self._key.public_key else None
        ledger = await self._horizon.newest_ledger()
        for gate in await self._locks.find(terms, own):
            account = await self._horizon.account(gate.address)
            if account is None or await self._horizon.claimable_balance(gate.balance_id) is not None:
                continue
            if terms.recipient == self._key.public_key:
                closing = await self._cleanup(gate, account, ledger)
            else:
                closing = self._reclaim(gate, account, ledger)
            if closing is not None:
                market = fees.read_market(await self._horizon.fee_stats(), self._settings.caps)
                return self._builder.finish(closing, market.bid, None, 0, None)
        return None

    async def _cleanup(self, gate: Gate, account: Record, ledger: Record) -> TransactionEnvelope | None:
        """As recipient: merge the gate into our account. The ledger must have passed the gate's sequence."""
        sequence = int(account["sequence"]) + 1
        if sequence >= int(ledger["sequence"]) << 32:
            return None
        preimage = await self._locks.revealed(gate)
        if preimage is None:
            return None
        line = line_of(account, gate.terms.asset) if gate.terms.asset.contract else None
        holds = 0 if line is None else stroops(line["balance"])
        operations = htlc.cleanup_operations(gate, holds)
        bounds = Preconditions(TimeBounds(0, close_time(ledger) + self._settings.validity))
        inner = Transaction(gate.address, sequence, 0, operations, preconditions=bounds)
        envelope = TransactionEnvelope(inner, self._settings.passphrase)
        htlc.sign_claim(envelope, self._key, preimage)
        return envelope

    def _reclaim(self, gate: Gate, account: Record, ledger: Record) -> TransactionEnvelope | None:
        """As anybody else: the pre-authorised transaction, from the deadline on."""
        if close_time(ledger) < gate.terms.deadline or int(account["sequence"]) != gate.sequence:
            return None
        if gate.sequence + 1 >= int(ledger["sequence"]) << 32:
            return None
        return htlc.reclaim_transaction(gate.terms, gate.address, gate.sequence, self._settings.passphrase)
