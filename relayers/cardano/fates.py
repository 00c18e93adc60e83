"""What ended a lock, concluded from proof alone. Pure.

A claim is the first constructor with a preimage that opens the lock. A refund is the second one in a
transaction that is valid only from the deadline on, or the third one where the recipient had to sign: the
validator demands nothing else for them. Whatever is neither is a spend of which this software knows no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.chains.port import Claimed, Refunded, Spent
from bridge.protocol.types import MAX_PREIMAGE_BYTES, LockId, LockTerms, Preimage, UnixSeconds
from relayers.cardano.cbor_items import CborError, read_whole
from relayers.cardano.chain_view import HtlcTx
from relayers.cardano.plutus_data import byte_string, constructor
from relayers.cardano.script import ClaimRedeemer, GiveBackRedeemer, RefundRedeemer

Fate = Claimed | Refunded | Spent


def fate(
    tx: HtlcTx,
    lock_id: LockId,
    terms: LockTerms,
    redeemers: Sequence[bytes],
    recipient: bytes,
    valid_from: UnixSeconds | None,
) -> Fate:
    """Return what a transaction did to a lock that it spends.

    `redeemers`: what is shown of the lock's one redeemer (CBOR); `recipient`: the key that could give it
    back; `valid_from`: when the transaction became valid, None if that is not known.
    """
    found = {_fate(tx, lock_id, terms, data, recipient, valid_from) for data in redeemers}
    if len(found) == 1:
        return found.pop()
    reason = "different redeemers are shown for it" if found else "no redeemer is shown for it"
    return Spent(tx.block, tx.tx_id, lock_id, reason)


def _fate(
    tx: HtlcTx,
    lock_id: LockId,
    terms: LockTerms,
    redeemer: bytes,
    recipient: bytes,
    valid_from: UnixSeconds | None,
) -> Fate:
    preimage, reason = None, ""
    try:
        found = constructor(read_whole(redeemer))
    except CborError as error:
        return Spent(tx.block, tx.tx_id, lock_id, f"its redeemer cannot be read: {error}")
    number, fields = (None, []) if found is None else found
    if number == ClaimRedeemer.CONSTR_ID and len(fields) == 1:
        preimage = byte_string(fields[0])
        if preimage is not None and len(preimage) <= MAX_PREIMAGE_BYTES:
            shown = Preimage(preimage)
            if shown.opens(terms.hashlock):
                return Claimed(tx.block, tx.tx_id, lock_id, shown)
        reason = "its redeemer is a claim's, and what it shows does not open the lock"
    elif number == RefundRedeemer.CONSTR_ID and not fields:
        if valid_from is not None and valid_from >= terms.deadline:
            return Refunded(tx.block, tx.tx_id, lock_id)
        reason = "its redeemer is a refund's, and its transaction is not shown to be past the deadline"
    elif number == GiveBackRedeemer.CONSTR_ID and not fields:
        if recipient in tx.signers:
            return Refunded(tx.block, tx.tx_id, lock_id)
        reason = "its redeemer is a cooperative refund's, and the recipient is not shown to have signed"
    else:
        reason = "its redeemer is none that the HTLC knows"
    return Spent(tx.block, tx.tx_id, lock_id, reason)
