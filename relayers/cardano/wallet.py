"""What users' own wallets sign: an intent, which needs no chain, and its completion to a transaction.

`intent` says what is to be done. `CardanoWallet.unsigned` (and `complete` for any other address) chooses
inputs and returns the CBOR for a CIP-30 wallet's `signTx(cbor, true)`; `CardanoWallet.submit` sends it with
the witness that comes back.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import msgspec
from pycardano import Transaction, TransactionWitnessSet

from bridge.chains.actions import action_of
from bridge.chains.errors import ActionRefusedError, InsufficientFundsError
from bridge.chains.port import BroadcastOutcome, BroadcastResult, UnsignedTx
from bridge.protocol.types import LockTerms, Preimage, Purpose
from relayers.cardano import building, htlc
from relayers.cardano.chain_view import ChainMovedError, TxRefusedError
from relayers.cardano.payer_outputs import PayerOutputs
from relayers.cardano.services import Service, open_services
from relayers.cardano.settings import CardanoSettings

WALLET_FORMAT = "cardano-htlc-intent"
"""Says what is to be done; there is nothing to sign yet. It comes while the chain cannot be asked or the
address has no money."""
CBOR_FORMAT = "cardano-cbor"
"""Signs `cbor` with the key of the address `signer`, by CIP-30 `api.signTx(cbor, true)`, and sends it with
the witness."""


def intent(
    purpose: Purpose, terms: LockTerms, preimage: Preimage | None, settings: CardanoSettings
) -> UnsignedTx:
    """Return what a wallet is to do, without any input chosen.

    `payload` holds purpose, network, the validator's address, the datum (CBOR, hex), the terms, the reference
    script's output, for a claim the preimage (hex), and for a refund the first slot at which it is valid.
    """
    if purpose not in {Purpose.LOCK, Purpose.CLAIM, Purpose.REFUND}:
        raise ActionRefusedError(f"a wallet has nothing to sign for {purpose}", "ask for another purpose")
    htlc.check(terms, settings)
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
            raise ActionRefusedError("the preimage does not open this lock", "use the swap's own preimage")
        payload["preimage"] = preimage.reveal().hex()
    if purpose is Purpose.REFUND:
        payload["valid_from_slot"] = settings.slot_at(terms.deadline)
    who = signer_of(purpose, terms)
    asset = terms.asset
    summary = f"{purpose.value} {terms.amount} × 10^-{asset.decimals} {asset.symbol} for {who}"
    return UnsignedTx(WALLET_FORMAT, summary, payload)


def signer_of(purpose: Purpose, terms: LockTerms) -> str:
    """Return the address whose key signs: the recipient's for a claim, else the sender's."""
    return terms.recipient if purpose is Purpose.CLAIM else terms.sender


class CardanoWallet:
    """Builds a user's transactions from a service of their own choice and sends what was signed."""

    private: frozenset[Purpose] = frozenset()

    def __init__(self, settings: CardanoSettings) -> None:
        self._settings = settings
        self._services = open_services(settings)

    async def __aenter__(self) -> CardanoWallet:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._services.close()

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """Build a LOCK, CLAIM or REFUND ready for the signature of the user's own wallet.

        Inputs are chosen among everything that the signer's payment key holds, with whatever stake part, and
        change goes where most of that lies. `payload` is the intent's with `cbor` and `signer`. Raises
        `ActionRefusedError` if the chain would refuse it as things stand, or the signer has no money for it.
        """
        asked = intent(purpose, terms, preimage, self._settings)
        signer = signer_of(purpose, terms)
        try:
            cbor = await self.complete(asked.payload, signer)
        except InsufficientFundsError as error:
            what, hint = "the amount and the fee", error.hint
            if purpose is not Purpose.LOCK:
                what = f"the fee and its collateral ({building.COLLATERAL_LEAST // 10**6} ADA)"
                hint = f"send that much to it, or let the bridge {purpose} for you"
            raise ActionRefusedError(f"the payment key of {signer} does not hold {what}", hint) from error
        return UnsignedTx(CBOR_FORMAT, asked.summary, {**asked.payload, "cbor": cbor, "signer": signer})

    async def complete(self, payload: dict[str, Any], address: str) -> str:
        """Return the unsigned transaction (CBOR, hex), paid from and with change to the key of `address`."""
        terms = msgspec.convert(payload["terms"], LockTerms)
        preimage = Preimage(bytes.fromhex(payload["preimage"])) if "preimage" in payload else None
        payer = PayerOutputs(address, any_stake=True)
        action = action_of(Purpose(payload["purpose"]), terms, preimage)
        draft = await self._services.reread(
            lambda service: service.drafting.draft(action, payer), ChainMovedError
        )
        return str(draft.tx.to_cbor().hex())

    async def submit(self, unsigned: str, witnesses: str) -> str:
        """Add a wallet's witnesses (CIP-30's answer, hex), send, return the id. Raises
        `ActionRefusedError`."""
        tx = Transaction.from_cbor(unsigned)
        signed = TransactionWitnessSet.from_cbor(witnesses)
        tx.transaction_witness_set.vkey_witnesses = signed.vkey_witnesses
        sent = await self._services.broadcast(lambda service: _submit(service, tx))
        if sent.outcome is not BroadcastOutcome.ACCEPTED:
            raise ActionRefusedError(f"the chain refuses: {sent.reason}", "build the transaction again")
        return str(tx.id.payload.hex())


async def _submit(service: Service, tx: Transaction) -> BroadcastResult:
    try:
        await service.view.submit(tx.to_cbor())
    except TxRefusedError as error:
        return BroadcastResult(BroadcastOutcome.REJECTED, str(error))
    return BroadcastResult(BroadcastOutcome.ACCEPTED)
