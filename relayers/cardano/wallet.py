"""What users' own wallets sign: an intent, which needs no chain, and its completion to a transaction.

`intent` says what is to be done. `Wallet.complete` chooses inputs at the user's address and returns the CBOR
for a CIP-30 wallet's `signTx(cbor, true)`; with the witness that comes back, `Wallet.submit` sends it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import msgspec
from pycardano import Transaction, TransactionWitnessSet

from bridge.protocol.types import LockTerms, Preimage, Purpose
from relayers.cardano import htlc
from relayers.cardano.blockfrost import Blockfrost, Refused
from relayers.cardano.blocks import History
from relayers.cardano.drafting import Drafting
from relayers.cardano.payer import Payer
from relayers.cardano.settings import NETWORKS, CardanoSettings
from relayers.port import ActionRefused, UnsignedTx

WALLET_FORMAT = "cardano-htlc-intent"


def intent(
    purpose: Purpose, terms: LockTerms, preimage: Preimage | None, settings: CardanoSettings
) -> UnsignedTx:
    """Return what a wallet is to do, without any input chosen.

    `payload` holds purpose, network, the validator's address, the datum (CBOR, hex), the terms, the reference
    script's output, for a claim the preimage (hex), and for a refund the first slot at which it is valid.
    """
    if purpose not in {Purpose.LOCK, Purpose.CLAIM, Purpose.REFUND}:
        raise ActionRefused(f"a wallet has nothing to sign for {purpose}", "ask for another purpose")
    htlc.check(terms)
    payload: dict[str, Any] = {
        "purpose": purpose.value,
        "network": settings.network.value,
        "address": terms.contract,
        "datum": htlc.datum_of(terms).to_cbor().hex(),
        "reference_script": settings.reference_script,
        "terms": msgspec.to_builtins(terms),
    }
    if purpose is Purpose.CLAIM:
        if preimage is None or not preimage.opens(terms.hashlock):
            raise ActionRefused("the preimage does not open this lock", "use the swap's own preimage")
        payload["preimage"] = preimage.reveal().hex()
    if purpose is Purpose.REFUND:
        payload["valid_from_slot"] = settings.slot_at(terms.deadline)
    who = terms.recipient if purpose is Purpose.CLAIM else terms.sender
    asset = terms.asset
    summary = f"{purpose.value} {terms.amount} × 10^-{asset.decimals} {asset.symbol} for {who}"
    return UnsignedTx(WALLET_FORMAT, summary, payload)


class Wallet:
    """Completes intents for any address and sends what was signed."""

    def __init__(self, settings: CardanoSettings) -> None:
        self._blockfrost = Blockfrost(settings.blockfrost_url, settings.project_id, settings.timeout)
        reader = htlc.Reader(settings.address_network, NETWORKS[settings.network].magic, settings.assets)
        self._drafting = Drafting(self._blockfrost, History(self._blockfrost, reader), reader, settings)

    async def __aenter__(self) -> Wallet:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._blockfrost.close()

    async def complete(self, payload: dict[str, Any], address: str) -> str:
        """Return the unsigned transaction (CBOR, hex), paid from and with change to `address`."""
        terms = msgspec.convert(payload["terms"], LockTerms)
        preimage = Preimage(bytes.fromhex(payload["preimage"])) if "preimage" in payload else None
        payer = Payer(self._blockfrost, address)
        draft = await self._drafting.draft(Purpose(payload["purpose"]), terms, preimage, payer)
        return str(draft.tx.to_cbor().hex())

    async def submit(self, unsigned: str, witnesses: str) -> str:
        """Add a wallet's witnesses (CIP-30's answer, hex), send, return the id. Raises `ActionRefused`."""
        tx = Transaction.from_cbor(unsigned)
        signed = TransactionWitnessSet.from_cbor(witnesses)
        tx.transaction_witness_set.vkey_witnesses = signed.vkey_witnesses
        try:
            return await self._blockfrost.submit(tx.to_cbor())
        except Refused as error:
            raise ActionRefused(f"the chain refuses: {error}", "build the transaction anew") from error
