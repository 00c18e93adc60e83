"""For users' wallets: turning what the port gives out into transactions to sign, and SEP-7 links.

A lock needs a fresh gate key. It must be the sender's own: a holder can make the gate again after
the reclaim and take the claimable balance (docs/decisions/0103). So the port gives out a recipe, and this
module, on the sender's side, makes the key and the transaction.
"""

from __future__ import annotations

import msgspec
from stellar_sdk import (
    Account,
    Keypair,
    Transaction,
    TransactionBuilder,
    TransactionEnvelope,
)
from stellar_sdk.operation import Operation

from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import UnsignedTx
from bridge.protocol.types import LockTerms, Preimage, Purpose
from relayers.stellar import htlc
from relayers.stellar.authorizer import Requests
from relayers.stellar.horizon import Horizon
from relayers.stellar.htlc import Gate
from relayers.stellar.links import sep7
from relayers.stellar.locks import Locks
from relayers.stellar.settings import StellarSettings
from relayers.stellar.watch import Watch

FORMAT = "stellar-recipe"
"""Says what to build; there is nothing to sign yet. A lock needs a gate key of the sender's own: `rainbow
swap start` builds it on the user's side."""
XDR_FORMAT = "stellar-xdr"
"""Signs the XDR, or opens the SEP-7 link."""
_FEE_RATE = 1_000
_VALIDITY = 300


def recipe(
    purpose: Purpose, terms: LockTerms, preimage: Preimage | None, passphrase: str, gate: Gate | None
) -> UnsignedTx:
    """Return what a wallet needs to know. With a known `gate`, claim and refund come as XDR and SEP-7 link
    too, with sequence 0, which the wallet replaces. A preimage that was given is in it: for the user."""
    payload: dict[str, object] = {
        "kind": FORMAT,
        "purpose": purpose.value,
        "network_passphrase": passphrase,
        "terms": {
            "sender": terms.sender,
            "recipient": terms.recipient,
            "asset": terms.asset.contract or "native",
            "amount": str(terms.amount),
            "hashlock": terms.hashlock.hex(),
            "deadline": terms.deadline,
        },
    }
    if purpose is Purpose.LOCK:
        summary = (
            "A recipe, not a transaction. Lock with a gate account and a claimable balance: make a fresh "
            "gate key, build the operations of relayers.stellar.htlc.lock_operations, sign with your key and "
            "the gate's, forget the gate's. `rainbow swap start` does it and gives XDR and a SEP-7 link."
        )
        payload["gate_balance"] = str(htlc.deposit(terms))
        payload["sequence_ledgers"] = htlc.SEQUENCE_LEDGERS
        return UnsignedTx(FORMAT, summary, payload)
    if purpose is Purpose.CLAIM:
        operations, who = (htlc.claim_operations, terms.recipient)
        summary = "Claim: signed by the recipient; the preimage is added as a hash(x) signature."
        if gate is None:
            summary = f"A recipe, not a transaction. {summary} `rainbow swap claim` makes it."
        payload["preimage"] = "" if preimage is None else preimage.reveal().hex()
    elif purpose is Purpose.REFUND:
        operations, who = (htlc.refund_operations, terms.sender)
        summary = f"Refund: signed by the sender, good from Unix time {terms.deadline} on."
        if gate is None:
            summary = f"A recipe, not a transaction. {summary} `rainbow swap refund` makes it."
    else:
        raise ActionRefusedError(
            f"a wallet cannot do {purpose.value} on Stellar", "only lock, claim and refund"
        )
    if gate is not None:
        transaction = Transaction(who, 0, _FEE_RATE * 2, operations(gate))
        envelope = TransactionEnvelope(transaction, passphrase)
        if purpose is Purpose.CLAIM and preimage is not None:
            envelope.sign_hashx(preimage.reveal())
        payload["kind"] = XDR_FORMAT
        payload["gate"] = gate.address
        payload["balance_id"] = gate.balance_id
        payload["xdr"] = envelope.to_xdr()
        payload["sep7"] = sep7(envelope, who, summary)
        return UnsignedTx(XDR_FORMAT, summary, payload)
    return UnsignedTx(FORMAT, summary, payload)


class Built(msgspec.Struct, frozen=True):
    """A transaction ready for the wallet's signature, and its SEP-7 link; other signatures are on it."""

    envelope: TransactionEnvelope
    link: str


class StellarWallet:
    """Builds a user's transactions from a Horizon server of their own choice."""

    private: frozenset[Purpose] = frozenset({Purpose.LOCK})
    """A lock comes with the gate's key (docs/decisions/0103)."""

    def __init__(self, settings: StellarSettings) -> None:
        self._chain = settings.chain
        self._passphrase = settings.passphrase
        self._horizon = Horizon(settings.horizon_url, settings.request_timeout)
        self._locks = Locks(self._horizon, Watch(self._horizon, settings), settings)
        self._requests = Requests(self._horizon, self._locks, settings)

    async def close(self) -> None:
        """Close the connections."""
        await self._horizon.close()

    async def locks(self, address: str) -> list[LockTerms]:
        """Return the terms of all standing locks that an account sent or is to receive, from the ledger
        alone: for those who have lost everything but their key."""
        return [gate.terms for gate in await self._locks.of_party(address)]

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """Build a LOCK, CLAIM or REFUND ready for the signature of the user's own wallet."""
        htlc.check(terms, self._chain)
        if purpose is Purpose.LOCK:
            built, summary = await self.lock(terms), "Lock: sign it with your wallet within five minutes."
        elif purpose is Purpose.CLAIM and preimage is not None:
            built = await self.claim(terms, preimage)
            summary = "Claim: sign it with your wallet within five minutes. It holds the preimage: keep it."
        elif purpose is Purpose.REFUND:
            built = await self.refund(terms)
            summary = f"Refund: sign it with your wallet, from Unix time {terms.deadline} on."
        else:
            raise ActionRefusedError(
                f"a wallet cannot do {purpose.value} on Stellar", "only lock, claim with the preimage, refund"
            )
        payload = {
            "kind": XDR_FORMAT,
            "purpose": purpose.value,
            "network_passphrase": self._passphrase,
            "xdr": built.envelope.to_xdr(),
            "sep7": built.link,
        }
        return UnsignedTx(XDR_FORMAT, summary, payload)

    async def lock(self, terms: LockTerms, gate: Keypair | None = None) -> Built:
        """Build a lock, signed by a fresh gate key that nobody keeps (or by `gate`); the sender signs it."""
        gate = gate or Keypair.random()
        ledger = (await self._horizon.tip()).block.height
        sequence = htlc.gate_sequence(ledger)
        operations = htlc.lock_operations(
            terms, gate.public_key, sequence, self._passphrase, htlc.deposit(terms)
        )
        envelope = await self._envelope(terms.sender, operations)
        envelope.sign(gate)
        return Built(envelope, sep7(envelope, terms.sender, "Lock the funds of your swap."))

    async def claim(self, terms: LockTerms, preimage: Preimage) -> Built:
        """Build a claim with the preimage on it: from here on it is a secret until it is sent."""
        gate = await self._locks.claimable(terms)
        if gate is None:
            raise ActionRefusedError(
                "there is no lock with these terms to claim", "check the terms with the bridge"
            )
        envelope = await self._envelope(terms.recipient, htlc.claim_operations(gate))
        envelope.sign_hashx(preimage.reveal())
        return Built(envelope, sep7(envelope, terms.recipient, "Claim the funds of your swap."))

    async def authorization(self, terms: LockTerms) -> UnsignedTx:
        """Build what the recipient signs for a gasless claim: of the recipient's own terms and Horizon, so
        that nothing that the bridge gives out needs to be trusted. Signed, it is for the bridge to check."""
        return await self._requests.make(terms)

    async def refund(self, terms: LockTerms) -> Built:
        """Build a refund; the network takes it from the deadline on."""
        gate = await self._locks.refundable(terms)
        if gate is None:
            raise ActionRefusedError(
                "there is no lock with these terms to refund", "it may have been claimed"
            )
        envelope = await self._envelope(terms.sender, htlc.refund_operations(gate))
        return Built(envelope, sep7(envelope, terms.sender, "Take the funds of your swap back."))

    async def reclaim(self, terms: LockTerms, payer: Keypair) -> str:
        """Return the fee bump (XDR) by which anybody returns a refunded lock's gate deposit to its sender."""
        for gate in await self._locks.find(terms):
            if await self._horizon.account(gate.address) is not None:
                inner = htlc.reclaim_transaction(terms, gate.address, gate.sequence, self._passphrase)
                return htlc.bump(inner, payer, _FEE_RATE).to_xdr()
        raise ActionRefusedError("there is no gate of this lock left", "its deposit was taken back already")

    async def _envelope(self, source: str, operations: list[Operation]) -> TransactionEnvelope:
        account = await self._horizon.account(source)
        if account is None:
            raise ActionRefusedError(f"the account {source} does not exist", "fund it with a few XLM first")
        tip = await self._horizon.tip()
        builder = TransactionBuilder(
            Account(source, int(account["sequence"])), self._passphrase, base_fee=_FEE_RATE
        )
        for operation in operations:
            builder.append_operation(operation)
        return builder.add_time_bounds(0, tip.time + _VALIDITY).build()
