"""SEP-7 links: a transaction for any wallet that opens `web+stellar:`."""

from __future__ import annotations

from stellar_sdk import TransactionEnvelope
from stellar_sdk.sep.stellar_uri import Replacement, TransactionStellarUri


def sep7(envelope: TransactionEnvelope, signer: str, message: str) -> str:
    """Return a SEP-7 link for a wallet: it puts in the present sequence if there is none, signs and sends."""
    replace = [Replacement("seqNum", "X", "the sequence of the account that signs")]
    link = TransactionStellarUri(
        envelope,
        replace=replace if envelope.transaction.sequence == 0 else None,
        pubkey=signer,
        message=message[:300],
        network_passphrase=envelope.network_passphrase,
    )
    return link.to_uri()
