"""Gasless claims: R signs the claim, the relayer adds the preimage and pays for it (`Authorizer`).

What is signed is in `authorized`. All of it is made again from the terms and the ledger at each step, on R's
side as on the relayer's, and compared to the last byte.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from stellar_sdk import Keypair, TransactionEnvelope

from bridge.chains.actions import ClaimAction
from bridge.chains.errors import ActionRefusedError, BadAuthorizationError, CannotReceiveError
from bridge.chains.port import FeeLevel, SignedTx, UnsignedTx
from bridge.protocol.types import Amount, LockTerms, UnixSeconds
from relayers.stellar import authorized, fees, htlc
from relayers.stellar.assets import decimal
from relayers.stellar.authorized import Way
from relayers.stellar.building import Builder
from relayers.stellar.holdings import require_receiver
from relayers.stellar.horizon import Horizon
from relayers.stellar.htlc import Gate
from relayers.stellar.links import sep7
from relayers.stellar.locks import Locks
from relayers.stellar.settings import StellarSettings

FORMAT = "stellar-authorization-xdr"
"""The recipient signs both transactions and hands them back. They are not to be sent: they lack the
preimage."""
FIRST, SECOND = "xdr", "fallback_xdr"
"""Where the two are in a request's payload and in what comes back signed; the second is not obligatory."""


class _Kept(msgspec.Struct, frozen=True):
    """`ClaimAction.authorization`: both envelopes with R's signature alone, XDR in base64; nothing secret."""

    first: str
    second: str = ""


class Requests:
    """Makes requests from the ledger: the relayer's side to give them out, R's side to know what it signs."""

    def __init__(self, horizon: Horizon, locks: Locks, settings: StellarSettings) -> None:
        self._horizon = horizon
        self._locks = locks
        self._chain = settings.chain
        self._passphrase = settings.passphrase

    async def make(self, terms: LockTerms, own_gate: str | None = None) -> UnsignedTx:
        """Return what R is to sign. Raises `ActionRefusedError` while there is no such lock to claim, or R
        could not be paid."""
        gates = await self.gates(terms, own_gate)
        if not gates:
            raise ActionRefusedError(
                "no lock with these terms can be claimed", "wait until it is on the ledger"
            )
        gate, sequence = gates[0]
        way = await self.way(terms)
        first, second = authorized.claims(gate, sequence, way, self._passphrase)
        paid = f"{decimal(terms.amount)} {terms.asset.symbol}"
        creates = ", which creates your account" if way is Way.CREATION else ""
        summary = (
            f"Sign, do not send: lets the bridge claim {paid} for {terms.recipient}{creates}. Nothing but "
            "that can be done with it; the fee is the bridge's, the gate's deposit comes to you later."
        )
        payload = {
            "kind": FORMAT,
            "network_passphrase": self._passphrase,
            "gate": gate.address,
            "balance_id": gate.balance_id,
            "valid_until": terms.deadline + authorized.VALID_AFTER_DEADLINE,
            FIRST: first.to_xdr(),
            SECOND: second.to_xdr(),
            "sep7": sep7(first, terms.recipient, summary),
            "fallback_sep7": sep7(second, terms.recipient, f"{summary} For the case that the first fails."),
            "shows": _operations_in_words(terms, way),
        }
        return UnsignedTx(FORMAT, summary, payload)

    async def gates(self, terms: LockTerms, own_gate: str | None = None) -> list[tuple[Gate, int]]:
        """Return the claimable locks with these terms, each with its gate's present sequence."""
        htlc.check(terms, self._chain)
        found = []
        for gate in await self._locks.claimables(terms, own_gate):
            account = await self._horizon.account(gate.address)
            if account is not None:
                found.append((gate, int(account["sequence"])))
        return found

    async def way(self, terms: LockTerms) -> Way:
        """Return how R can be paid now. Raises `ActionRefusedError` if it cannot."""
        recipient = await self._horizon.account(terms.recipient)
        try:
            require_receiver(recipient, terms.recipient, terms.asset, terms.amount)
        except CannotReceiveError as error:
            raise ActionRefusedError(str(error), error.hint) from error
        return Way.PAYMENT if recipient is not None or terms.asset.contract else Way.CREATION


class StellarAuthorizer:
    """Makes, signs, checks and uses authorisations; nothing is ever taken out of the amount."""

    required = True

    def __init__(
        self,
        horizon: Horizon,
        settings: StellarSettings,
        key: Keypair,
        locks: Locks,
        builder: Builder,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._horizon = horizon
        self._settings = settings
        self._key = key
        self._requests = Requests(horizon, locks, settings)
        self._builder = builder
        self._ready = ready
        """Makes sure that it is the right network, before anything is read."""

    async def request(self, terms: LockTerms, max_fee: Amount = Amount(0)) -> UnsignedTx:
        """See `Authorizer.request` and `Requests.make`."""
        del max_fee  # nothing is ever taken out of the amount
        await self._ready()
        return await self._requests.make(terms, self._own_gate(terms))

    async def sign(
        self, terms: LockTerms, request: UnsignedTx, max_fee: Amount = Amount(0)
    ) -> dict[str, str]:
        """See `Authorizer.sign`. The lock is looked for in this port's own view of the ledger."""
        del max_fee
        await self._ready()
        if terms.recipient != self._key.public_key:
            raise BadAuthorizationError(
                f"the claim pays {terms.recipient}, not {self._key.public_key}",
                "only the recipient can authorise it",
            )
        if request.format != FORMAT:
            raise BadAuthorizationError(
                f"{request.format!r} names no request for a claim", f"it must be {FORMAT!r}"
            )
        pair = (self._parsed(request.payload, FIRST), self._parsed(request.payload, SECOND))
        await self._require_exact(terms, pair)
        for envelope in pair:
            del envelope.signatures[:]
            envelope.sign(self._key)
        return {FIRST: pair[0].to_xdr(), SECOND: pair[1].to_xdr()}

    async def check(self, terms: LockTerms, signed: Mapping[str, str], min_fee: Amount = Amount(0)) -> bytes:
        """See `Authorizer.check`. A wallet may hand over the first transaction alone."""
        if min_fee:
            raise BadAuthorizationError(
                "no fee can be taken out of a claim on Stellar", "quote with `gasless`"
            )
        await self._ready()
        first = self._parsed(signed, FIRST)
        second = self._parsed(signed, SECOND) if signed.get(SECOND) else None
        await self._require_exact(terms, (first, second))
        kept = [
            authorized.signed_by(each, terms.recipient).to_xdr()
            for each in (first, second)
            if each is not None
        ]
        return msgspec.json.encode(_Kept(*kept))

    async def prepare(self, action: ClaimAction, fee: FeeLevel) -> SignedTx:
        """Return the authorised claim with the preimage, in our fee bump; it uses no sequence of ours.

        Made again it is the same inner transaction, so a better bid (`fee`) replaces an earlier one and never
        adds to it. Raises `ActionRefusedError` when neither of the two that R signed can land now.
        """
        terms, preimage = action.terms, action.preimage
        if not preimage.opens(terms.hashlock):
            raise ActionRefusedError("the preimage does not open the hashlock", "wait for the right one")
        market = fees.read_market(await self._horizon.fee_stats(), self._settings.caps)
        rate = fees.rate(market, fee, self._settings.caps)
        envelope = await self._first_that_fits(terms, action.authorization)
        await self._builder.require_fee(rate * (len(envelope.transaction.operations) + 1))
        envelope.sign_hashx(preimage.reveal())
        until = UnixSeconds(terms.deadline + authorized.VALID_AFTER_DEADLINE)
        return self._builder.finish(envelope, rate, None, 0, until)

    async def _first_that_fits(self, terms: LockTerms, authorization: bytes) -> TransactionEnvelope:
        """Return the first of the two that R signed that can land as things stand."""
        try:
            kept = msgspec.json.decode(authorization, type=_Kept)
            envelopes = [
                authorized.signed_by(authorized.parse(each, self._settings.passphrase), terms.recipient)
                for each in (kept.first, kept.second)
                if each
            ]
        except msgspec.DecodeError as error:
            raise ActionRefusedError(
                "what is kept is not an authorisation", "let the recipient sign again"
            ) from error
        except BadAuthorizationError as error:
            raise ActionRefusedError(str(error), error.hint) from error
        gates = await self._requests.gates(terms, self._own_gate(terms))
        if not gates:
            raise ActionRefusedError(
                "no lock with these terms can be claimed", "it may have been spent, or never made"
            )
        way = await self._requests.way(terms)
        for index, make in enumerate((authorized.first, authorized.second)[: len(envelopes)]):
            envelope = envelopes[index]
            base = envelope.transaction.sequence - 1 - index
            for gate, sequence in gates:
                wanted = make(gate, base, way, self._settings.passphrase)
                if authorized.fits_sequence(envelope, sequence) and envelope.hash() == wanted.hash():
                    return envelope
        raise ActionRefusedError(
            "what the recipient signed does not fit the ledger any more",
            "the recipient must sign a new request, or claim without the relayer",
        )

    def _own_gate(self, terms: LockTerms) -> str | None:
        return self._builder.gate_key(terms).public_key if terms.sender == self._key.public_key else None

    def _parsed(self, signed: Mapping[str, object], name: str) -> TransactionEnvelope:
        text = signed.get(name)
        if not isinstance(text, str) or not text:
            raise BadAuthorizationError(
                f"{name!r} is missing", f"hand over the signed transaction of the request as {name!r}"
            )
        return authorized.parse(text, self._settings.passphrase)

    async def _require_exact(
        self, terms: LockTerms, pair: tuple[TransactionEnvelope, TransactionEnvelope | None]
    ) -> None:
        """Raise `BadAuthorizationError` unless the pair is what the ledger and the terms make of a
        request."""
        gates = await self._requests.gates(terms, self._own_gate(terms))
        if not gates:
            raise BadAuthorizationError(
                "no lock with these terms can be claimed", "it may have been spent already, or never made"
            )
        problem = ""
        for gate, sequence in gates:
            for way in authorized.ways(terms):
                wanted = authorized.claims(gate, sequence, way, self._settings.passphrase)
                told = authorized.difference(pair[0], wanted[0])
                if not told and pair[1] is not None:
                    told = authorized.difference(pair[1], wanted[1])
                if not told:
                    return
                problem = problem or told
        raise BadAuthorizationError(
            f"this is not the claim of this lock: {problem}", "request the claim again"
        )


def _operations_in_words(terms: LockTerms, way: Way) -> list[str]:
    """Say in words what the operations do, as a wallet shows them one by one."""
    paid = f"{decimal(terms.amount)} {terms.asset.symbol}"
    last = f"create {terms.recipient} with" if way is Way.CREATION else f"pay {terms.recipient}"
    return [
        "set options of the gate: remove the sender's way back of the deposit",
        "set options of the gate: add the recipient's way back of the deposit",
        f"claim the claimable balance of {paid}",
        f"{last} {paid}",
    ]
