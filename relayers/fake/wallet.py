"""A user's own account on the fake chain."""

from __future__ import annotations

import itertools

from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import BroadcastOutcome
from bridge.protocol.types import Asset, LockId, LockTerms, Preimage, Purpose
from relayers.fake.chain import FakeChain
from relayers.fake.ledger import FakeTx


class FakeWallet:
    """A user's own account: it locks, claims and refunds without the bridge."""

    def __init__(self, chain: FakeChain, address: str) -> None:
        self.fake = chain
        self.address = address
        # A transaction that failed can be sent again later: it is another one then.
        self._salts = itertools.count(1_000_000 + 1_000 * chain.head.height)

    def lock(self, terms: LockTerms) -> str:
        """Send a lock and return its transaction id."""
        return self._send(Purpose.LOCK, terms=terms)

    def claim(self, lock_id: LockId, preimage: Preimage) -> str:
        """Send a claim, revealing the preimage."""
        return self._send(Purpose.CLAIM, lock_id=lock_id, preimage=preimage.reveal().hex())

    def show(self, lock_id: LockId, preimage: Preimage) -> str:
        """Show a preimage in a transaction that names a lock and claims nothing."""
        return self._send(Purpose.CANCEL, lock_id=lock_id, payload=preimage.reveal().decode("latin-1"))

    def refund(self, lock_id: LockId) -> str:
        """Send a refund."""
        return self._send(Purpose.REFUND, lock_id=lock_id)

    def approve(self, asset: Asset) -> str:
        """Allow the HTLC to take a token."""
        return self._send(Purpose.APPROVE, payload=asset.key)

    def balance(self, asset: Asset) -> int:
        """Return the balance, smallest units."""
        return self.fake.ledger.balance(self.address, asset)

    def _send(
        self,
        purpose: Purpose,
        terms: LockTerms | None = None,
        lock_id: LockId = LockId(""),
        preimage: str = "",
        payload: str = "",
    ) -> str:
        sequence = self._next_sequence() if self.fake.sequences else None
        tx = FakeTx(
            account=self.address,
            sequence=sequence,
            purpose=purpose,
            price=self.fake.price * 2,
            terms=terms,
            lock_id=lock_id,
            preimage=preimage,
            payload=payload,
            salt=0 if self.fake.sequences else next(self._salts),
        )
        result = self.fake.submit(tx)
        if result.outcome not in (BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN):
            raise ActionRefusedError(f"{result.outcome.value}: {result.reason}")
        return tx.tx_id

    def _next_sequence(self) -> int:
        used = self.fake.ledger.sequences.get(self.address, 0)
        waiting = {
            pending.tx.sequence
            for pending in self.fake.mempool.values()
            if pending.tx.account == self.address
        }
        while used in waiting:
            used += 1
        return used
