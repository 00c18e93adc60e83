"""From an action to an unsigned transaction that the chain would take as it stands: for our own account and
for users' wallets alike."""

from __future__ import annotations

import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
from pycardano import Address, ProtocolParameters, UTxO, datum_hash

from bridge.chains.actions import (
    ClaimAction,
    CooperativeRefundAction,
    LockAction,
    RefundAction,
    SwapAction,
)
from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.errors import (
    ActionRefusedError,
    InsufficientFundsError,
    TooDearError,
)
from bridge.chains.port import Claimed, HtlcEvent, Locked, LockStatus, Refunded
from bridge.protocol.types import BlockHeight, BlockRef, LockTerms, Preimage, Purpose, TxId
from relayers.cardano import building
from relayers.cardano.blocks import History
from relayers.cardano.building import BuildContext, Draft, Spend
from relayers.cardano.chain_view import (
    ChainMovedError,
    ChainView,
    Output,
    TooMuchToReadError,
    TxRefusedError,
)
from relayers.cardano.htlc import Reader, check, credential, datum_of, id_of, key_hash
from relayers.cardano.lock_index import LockIndex
from relayers.cardano.payer_outputs import PayerOutputs, to_utxo
from relayers.cardano.script import (
    ClaimRedeemer,
    GiveBackRedeemer,
    HtlcRedeemer,
    RefundRedeemer,
    validator,
    validator_address,
)
from relayers.cardano.settings import CardanoSettings

_PARAMETERS_KEPT = 600.0
"""Seconds: parameters change at the turn of an epoch (five days) at most."""
_MARGIN_NUMERATOR, _MARGIN_DENOMINATOR = 11, 10
"""Budgets are a tenth above what the evaluation says: the order of inputs may cost a little more."""


class Drafting:
    """Builds the HTLC's transactions on a fresh view of the chain."""

    def __init__(self, view: ChainView, reader: Reader, settings: CardanoSettings, index: LockIndex) -> None:
        self._view = view
        self.index = index
        """Where locks stand."""
        self._history = History(view, reader, self.index)
        self._reader = reader
        self._settings = settings
        self._parameters: tuple[float, ProtocolParameters] | None = None

    @property
    def history(self) -> History:
        """What happened on the chain, as far as it is remembered for building."""
        return self._history

    # ------------------------------------------------------------------ reading

    async def parameters(self) -> ProtocolParameters:
        """Return the protocol parameters, at most some minutes old."""
        now = clock.monotonic()
        if self._parameters is None or now - self._parameters[0] > _PARAMETERS_KEPT:
            self._parameters = (now, await self._view.parameters())
        return self._parameters[1]

    async def _find_hashed(self, terms: LockTerms) -> dict[LockTerms, Output]:
        """Return a lock with these terms that shows only its datum's hash: no lock that counts, but who knows
        the terms can have the money back."""
        datum = datum_of(terms)
        digest, inline = datum_hash(datum).payload.hex(), datum.to_cbor().hex()
        for output in await self._view.utxos(credential()):
            if output.inline_datum is None and output.datum_hash == digest:
                shown = msgspec.structs.replace(output, inline_datum=inline)
                if self._reader.terms(shown) == terms:
                    return {terms: output}
        return {}

    async def status(self, terms: LockTerms, account: str, since: BlockHeight | None = None) -> LockStatus:
        """Tell what became of the lock with exactly these terms. Raises `ChainMovedError`.

        `since`: a height below which it cannot have been made. Without one it is looked for by its datum as
        we write it. `account` is an address of ours, which the service must know.
        """
        if await self.index.find([terms]):
            return LockStatus.OPEN
        lock_id = id_of(terms, self._settings)
        traces = await self.index.traces(terms)
        if not traces:
            digest = datum_hash(datum_of(terms)).payload.hex()
            try:
                events = await self._history.lock_history(lock_id, digest, since)
            except TooMuchToReadError:
                return LockStatus.UNKNOWN
            if not events:
                known = await self._view.covers(since, account, digest)
                return LockStatus.ABSENT if known else LockStatus.UNKNOWN
            if any(not isinstance(event, Locked) for event in events):
                return _status([event for event in events if not isinstance(event, Locked)])
            # It was made, nothing is known to have spent it, and yet it is not among what is unspent: to call
            # that absent would have it made twice. Now it is asked for directly.
            traces = await self.index.traces(terms)
        if any(traced.spender is None for traced in traces) or not traces:
            raise ChainMovedError
        found: list[HtlcEvent] = []
        for traced in traces:
            found += self._history.of_lock(await self._view.spending(traced), lock_id)
        return _status([event for event in found if not isinstance(event, Locked)])

    # ------------------------------------------------------------------ building

    async def draft(self, action: SwapAction, payer: PayerOutputs) -> Draft:
        """Build the transaction of an action, paid by `payer`; with a claim also its `others` as far as their
        locks are open, even if the first is not.

        Raises `ActionRefusedError` if the chain would refuse it as things stand, `InsufficientFundsError`.
        """
        purpose, terms = action.purpose, action.terms
        check(terms, self._settings)
        head = await self._view.head()
        owner_key = key_hash_of(payer)
        self._check_rules(action, head, owner_key)
        ttl = self._settings.slot_at(head.time) + self._settings.time_to_live
        if purpose is Purpose.LOCK:
            status = await self.status(terms, payer.address)
            if status is LockStatus.UNKNOWN:
                raise EndpointError(
                    "the service cannot tell whether a lock with exactly these terms was made before",
                    "use a service with the whole history, or index from an earlier block on",
                    kind=Answer.PERMANENT,
                )
            if status is not LockStatus.ABSENT:
                raise ActionRefusedError(
                    "a lock with exactly these terms was made before", "read it back from chain"
                )
            context = await self.context(payer, head)
            least = building.least_lock(context, terms)
            if not terms.asset.contract and terms.amount < least:
                raise ActionRefusedError(f"a lock must hold at least {least} lovelace", "lock more")
            return self._within_fee_cap(building.lock(context, terms, ttl))
        preimages: dict[LockTerms, Preimage] = {}
        if isinstance(action, ClaimAction):
            others = (other for other in action.others if other.preimage.opens(other.terms.hashlock))
            preimages = {claim.terms: claim.preimage for claim in (*others, action)}
        locks = await self.index.find(list(dict.fromkeys((terms, *preimages))))
        if not locks and purpose is Purpose.REFUND:
            locks = await self._find_hashed(terms)
        if not locks:
            status = await self.status(terms, payer.address)
            raise ActionRefusedError(
                f"there is no such lock to {purpose}: it is {status}", "read it back from chain"
            )
        context = await self.context(payer, head)
        return await self._spend(context, purpose, locks, preimages, ttl)

    def _check_rules(self, action: SwapAction, head: BlockRef, payer: bytes) -> None:
        terms = action.terms
        match action:
            case LockAction():
                if terms.contract != validator_address(self._settings.address_network):
                    raise ActionRefusedError(
                        "the lock's contract is not ours", "lock at the HTLC's own address"
                    )
                if payer != key_hash(terms.sender):
                    raise ActionRefusedError("the lock names another sender", "a lock is made by its sender")
                if terms.deadline <= head.time:
                    raise ActionRefusedError("the deadline has passed", "a lock must end in the future")
            case ClaimAction(preimage=preimage):
                if not preimage.opens(terms.hashlock):
                    raise ActionRefusedError(
                        "the preimage does not open this lock", "use the swap's own preimage"
                    )
            case RefundAction():
                if head.time < terms.deadline:
                    missing = terms.deadline - head.time
                    raise ActionRefusedError(
                        f"the deadline is {missing} s ahead of the chain's clock", "wait for it"
                    )
            case CooperativeRefundAction():
                if payer != key_hash(terms.recipient):
                    raise ActionRefusedError(
                        "only the recipient can give a lock back", "wait for the deadline"
                    )

    async def _spend(
        self,
        context: BuildContext,
        purpose: Purpose,
        locks: Mapping[LockTerms, Output],
        preimages: Mapping[LockTerms, Preimage],
        ttl: int,
    ) -> Draft:
        signers: list[bytes] = []
        start: int | None = None
        spends: list[Spend] = []
        for terms, lock in locks.items():
            redeemer: HtlcRedeemer
            owner = key_hash(terms.sender)
            if purpose is Purpose.CLAIM:
                owner, redeemer = key_hash(terms.recipient), ClaimRedeemer(preimages[terms].reveal())
            elif purpose is Purpose.REFUND:
                redeemer, start = RefundRedeemer(), self._settings.slot_at(terms.deadline)
            else:
                redeemer, signers = GiveBackRedeemer(), [key_hash(terms.recipient)]
            datum = datum_of(terms) if lock.inline_datum is None else None
            spends.append(Spend(to_utxo(lock), redeemer, owner, datum=datum))
        reference = self._reference()

        def build() -> Draft:
            return building.spend(context, spends, reference, ttl, signers=signers, start=start)

        first = build()
        if first.chained:
            return self._within_fee_cap(first)  # the service cannot evaluate what spends from the mempool
        memory, steps = await self._evaluate(first)
        spends = [replace(part, memory=memory, steps=steps) for part in spends]
        return self._within_fee_cap(build())

    async def _evaluate(self, draft: Draft) -> tuple[int, int]:
        """Return the largest budget of a redeemer and some reserve: the proof that the scripts succeed."""
        try:
            needed = await self._view.evaluate(draft.tx.to_cbor())
        except TxRefusedError as error:
            raise ActionRefusedError(
                f"the validator refuses: {error}", "read the lock back from chain"
            ) from error
        memory = max(units[0] for units in needed.values())
        steps = max(units[1] for units in needed.values())
        reserve = _MARGIN_NUMERATOR, _MARGIN_DENOMINATOR
        return memory * reserve[0] // reserve[1], steps * reserve[0] // reserve[1]

    async def context(self, payer: PayerOutputs, head: BlockRef) -> BuildContext:
        """Return what transactions of `payer` are built from now. Raises `InsufficientFundsError`."""
        parameters = await self.parameters()
        spendable = await payer.spendable(self._view, head.time)
        if not (spendable.confirmed or spendable.unconfirmed):
            raise InsufficientFundsError(
                "the Cardano account has no free outputs", "send ada to it, or wait for what is under way"
            )
        address = Address.from_primitive(spendable.change)
        network = self._settings.address_network
        return BuildContext(
            parameters,
            self._settings.slot_at(head.time),
            network,
            address,
            spendable.confirmed,
            spendable.unconfirmed,
        )

    def _reference(self) -> UTxO | None:
        """Return the output that carries the validator, as far as a builder needs to know it."""
        if not self._settings.reference_script:
            return None
        tx_id, _, index = self._settings.reference_script.partition("#")
        utxo = to_utxo(Output(TxId(tx_id), int(index), validator_address(self._settings.address_network), 0))
        utxo.output.script = validator()
        return utxo

    def _within_fee_cap(self, draft: Draft) -> Draft:
        if draft.fee > self._settings.max_fee:
            raise TooDearError(
                f"the fee would be {draft.fee} lovelace, over the cap of {self._settings.max_fee}",
                "raise the fee cap in the configuration",
            )
        return draft


def key_hash_of(payer: PayerOutputs) -> bytes:
    """Return the payment key's hash of a payer's address, with or without a stake part."""
    return key_hash(payer.address)


def _status(spends: Sequence[HtlcEvent]) -> LockStatus:
    """Return what the spends of all locks with the same terms amount to: one claim gives the secret away, and
    one that proves nothing could have."""
    if any(isinstance(event, Claimed) for event in spends):
        return LockStatus.CLAIMED
    if spends and all(isinstance(event, Refunded) for event in spends):
        return LockStatus.REFUNDED
    return LockStatus.SPENT
