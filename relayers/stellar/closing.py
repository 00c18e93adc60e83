"""Closing the gates of spent locks, so that each deposit comes to whom it belongs.

A claimer of ours merges the gate into its account; after an authorised claim anybody submits what the
recipient pre-authorised, after a refund what the sender did. All use the gate's own sequence and our fee
bump, so they disturb none of our other transactions, and are worthless once done.
"""

from __future__ import annotations

from stellar_sdk import Keypair, Preconditions, StrKey, TimeBounds, Transaction, TransactionEnvelope

from bridge.chains.errors import ActionRefusedError, NothingToDoError
from bridge.chains.port import FeeLevel, SignedTx
from bridge.protocol.types import LockTerms, Preimage, UnixSeconds
from relayers.stellar import authorized, fees, htlc
from relayers.stellar.assets import stroops
from relayers.stellar.building import Builder
from relayers.stellar.holdings import line_of
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

    async def prepare(self, terms: LockTerms, level: FeeLevel) -> SignedTx:
        """Return the closing transaction of a spent lock's gate; made again with a higher level it replaces
        the one before. Raises `ActionRefusedError` while it is too early, `NothingToDoError` when no gate of
        these terms stands any more, or none that we could close."""
        own = self._builder.gate_key(terms).public_key if terms.sender == self._key.public_key else None
        ledger = await self._horizon.newest_ledger()
        standing = False
        for gate in await self._locks.find(terms, own):
            account = await self._horizon.account(gate.address)
            if account is None:
                continue
            if await self._horizon.claimable_balance(gate.balance_id) is not None:
                standing = True
                continue
            standing = standing or self._is_ours_to_close(gate, account)
            ours = terms.recipient == self._key.public_key
            preimage = await self._locks.revealed(gate) if ours else None
            if preimage is not None:
                closing = self._cleanup(gate, account, ledger, preimage)
            else:
                closing = self._way_back(gate, account, ledger) or self._reclaim(gate, account, ledger)
            if closing is not None:
                market = fees.read_market(await self._horizon.fee_stats(), self._settings.caps)
                rate = fees.rate(market, level, self._settings.caps)
                return self._builder.finish(closing, rate, None, 0, _last_moment(closing))
        if standing:
            raise ActionRefusedError("the gate cannot be closed yet", "it is tried again")
        raise NothingToDoError("no gate of this lock is left to close", "its deposit is where it belongs")

    def _is_ours_to_close(self, gate: Gate, account: Record) -> bool:
        """Tell whether we could close a spent gate, now or later. After a claim of the gate's own without a
        way back only R's signature opens it."""
        return (
            gate.terms.recipient == self._key.public_key
            or int(account["sequence"]) == gate.sequence
            or self._has_way_back(gate, account)
        )

    def _has_way_back(self, gate: Gate, account: Record) -> bool:
        planned = authorized.way_back(gate, self._settings.passphrase)
        signer = StrKey.encode_pre_auth_tx(planned.hash())
        return any(each["key"] == signer for each in account["signers"])

    def _way_back(self, gate: Gate, account: Record, ledger: Record) -> TransactionEnvelope | None:
        """After an authorised claim: what R pre-authorised with it, which gives R the deposit."""
        planned = authorized.way_back(gate, self._settings.passphrase)
        too_early = planned.transaction.sequence >= int(ledger["sequence"]) << 32
        return None if too_early or not self._has_way_back(gate, account) else planned

    def _cleanup(
        self, gate: Gate, account: Record, ledger: Record, preimage: Preimage
    ) -> TransactionEnvelope | None:
        """As recipient: merge the gate into our account. The ledger must have passed the gate's sequence."""
        sequence = int(account["sequence"]) + 1
        if sequence >= int(ledger["sequence"]) << 32:
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
        """What the sender pre-authorised, from the deadline on. As recipient of a lock that was refunded we
        do the sender this service: it costs two or three hundred stroops."""
        if close_time(ledger) < gate.terms.deadline or int(account["sequence"]) != gate.sequence:
            return None
        if gate.sequence + 1 >= int(ledger["sequence"]) << 32:
            return None
        return htlc.reclaim_transaction(gate.terms, gate.address, gate.sequence, self._settings.passphrase)


def _last_moment(envelope: TransactionEnvelope) -> UnixSeconds | None:
    """Return after when (Unix seconds) a transaction can never land, None if it always can."""
    conditions = envelope.transaction.preconditions
    bounds = conditions.time_bounds if conditions is not None else None
    return UnixSeconds(bounds.max_time) if bounds is not None and bounds.max_time else None
