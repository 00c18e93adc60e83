"""A swap from the user's side, safe against a bridge that lies and against crashes at any line.

1. The preimage is made and sealed into the recovery file before the bridge learns its hashlock.
2. The bridge's answer must repeat exactly what its signed quote promised. What the quote leaves open, the
   amount and the deadline of the bridge's lock, must be within the signed limits.
3. Before the secret is revealed, the user's own node must show the bridge's lock, as deep as the quote says,
   counted from the block in which that node first showed it.
4. The secret is not revealed after the reveal deadline of `bridge.protocol.timelocks`.
5. The user's transactions are stored before they are sent; a restart sends the same bytes again.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from typing import Protocol

import msgspec

from bridge.chains.actions import action_of
from bridge.chains.errors import BadAuthorizationError, PortUnavailableError
from bridge.chains.port import (
    Authorizer,
    BroadcastOutcome,
    ChainPort,
    FeeLevel,
    LockStatus,
    SignedTx,
    Tip,
    TxState,
    UnsignedTx,
)
from bridge.client.client import BridgeClient
from bridge.client.errors import BridgeRefusedError, BridgeUnreachableError, UnsafeError
from bridge.client.recovery import INTERACTIVE, RecoveryDir, RecoveryRecord, SealingCost, seal
from bridge.keys.quote_signature import receipt_is_valid, signature_is_valid
from bridge.protocol.acceptance import read_acceptance
from bridge.protocol.assisted_claim import Needed
from bridge.protocol.hashlock import new_preimage
from bridge.protocol.legs import CLAIMED
from bridge.protocol.lock_fee import value_text
from bridge.protocol.quote import QuoteBody
from bridge.protocol.refusals import ProtocolError
from bridge.protocol.timelocks import may_reveal
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    CounterlockRange,
    LegState,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    SwapId,
    UnixSeconds,
)
from bridge.wire.market import QuoteView
from bridge.wire.swaps import ClaimTermsView, ReceiptView, RestoreView, SwapCreated, SwapView
from kernels.errors import RainbowError


class Reader(Protocol):
    """The part of `bridge.chains.port.ChainPort` that only reads, connected to the user's own node."""

    async def tip(self) -> Tip:
        """See `ChainPort`."""
        ...

    async def read_lock(self, lock_id: LockId, terms: LockTerms) -> LockStatus:
        """See `ChainPort`."""
        ...

    def lock_id(self, terms: LockTerms) -> LockId:
        """See `ChainPort`."""
        ...


class Builder(Protocol):
    """Makes transactions for a user's wallet, on the user's side."""

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """Return a LOCK, CLAIM or REFUND, ready to sign."""
        ...


class LockEvidence(msgspec.Struct, frozen=True):
    """What the user's own node shows of a lock: a lower bound of its confirmations, the chain's time, and
    whether the chain itself calls the lock's block final."""

    status: LockStatus
    confirmations: int
    chain_time: UnixSeconds
    finalized: bool = False


class LockWatch:
    """Counts a lock's confirmations from the first block in which the user's own node showed it."""

    def __init__(self, reader: Reader, terms: LockTerms) -> None:
        self._reader = reader
        self._terms = terms
        self._first: BlockHeight | None = None

    def follow(self, terms: LockTerms) -> None:
        """Watch a lock with these terms; if they are others than so far, from now on."""
        if terms != self._terms:
            self._terms, self._first = terms, None

    async def look(self) -> LockEvidence:
        """Read the chain once."""
        before = await self._reader.tip()
        status = await self._reader.read_lock(self._reader.lock_id(self._terms), self._terms)
        if status is not LockStatus.OPEN:
            self._first = None
            return LockEvidence(status, 0, before.time)
        if self._first is None or before.block.height < self._first:
            self._first = max(before.block.height, (await self._reader.tip()).block.height)
        confirmations = max(1, before.block.height - self._first + 1)
        finalized = before.finalized is not None and before.finalized >= self._first
        return LockEvidence(status, confirmations, before.time, finalized)


class UserSwap:
    """One swap of a user. Start it with `UserSwap.begin`, continue it with `UserSwap.resume`."""

    def __init__(self, client: BridgeClient, recovery: RecoveryDir, record: RecoveryRecord) -> None:
        self._client = client
        self._recovery = recovery
        self.record = record
        self.created: SwapCreated | None = None
        """The bridge's answer to `place`, once it is checked."""

    @classmethod
    async def begin(
        cls,
        client: BridgeClient,
        recovery: RecoveryDir,
        quote: QuoteView,
        *,
        refund_address: str,
        recipient: str,
        password: str,
        bridge_url: str = "",
        public_key: str = "",
        cost: SealingCost = INTERACTIVE,
    ) -> UserSwap:
        """Check the quote, store a fresh secret, and only then take the quote.

        `public_key` is the bridge's key, pinned by the user; without it the key in the quote is trusted.
        Raises `UnsafeError`, and what `BridgeClient` raises.
        """
        body = checked_quote(quote, public_key)
        preimage = new_preimage(secrets.token_bytes(32))
        hashlock = preimage.hashlock()
        source, destination = body.terms(
            hashlock, refund_address=Address(refund_address), recipient=Address(recipient)
        )
        record = RecoveryRecord(
            hashlock=hashlock,
            sealed=seal(preimage, password, cost),
            bridge_url=bridge_url,
            quote_id=quote.id,
            source=source,
            destination=destination,
            destination_timing=body.policy.destination,
            destination_confirmations=body.policy.destination.finality_depth,
            gasless=body.gasless,
            created=int(time.time()),
            bridge_key=quote.public_key,
            counterlock=body.policy.counterlock,
        )
        recovery.save(record)
        swap = cls(client, recovery, record)
        await swap.place()
        return swap

    @classmethod
    def resume(cls, client: BridgeClient, recovery: RecoveryDir, record: RecoveryRecord) -> UserSwap:
        """Continue a swap from its recovery file."""
        return cls(client, recovery, record)

    @property
    def id(self) -> SwapId:
        """The swap's id at the bridge, "" before the bridge has accepted it."""
        return self.record.swap_id

    async def place(self) -> SwapCreated:
        """Take the quote, or find the swap that took it: repeating is safe. Raises `UnsafeError`."""
        record = self.record
        created = await self._client.create_swap(
            record.quote_id, record.hashlock, record.source.sender, record.destination.recipient
        )
        try:
            source, destination = created.source.terms.terms(), created.destination.terms.terms()
        except ValueError:
            raise UnsafeError(
                "the bridge's answer has broken terms", "do not lock anything; report it to the operator"
            ) from None
        # The bridge writes addresses in their chain's canonical form and chooses the lane of its own
        # lock, once. All else must be the same. If the lane changed later, the claim would fail.
        expected, left_open = record.destination, record.counterlock
        if not record.swap_id:
            expected = msgspec.structs.replace(expected, lane=destination.lane)
        if left_open is not None and record.swap_id and allows(left_open, expected, destination):
            # Asked again later, it may tell what was decided since: `check_counterlock` looks at that.
            destination = msgspec.structs.replace(
                destination, amount=expected.amount, deadline=expected.deadline
            )
        unlaned = msgspec.structs.replace(source, lane=0)
        for ours, theirs in ((record.source, unlaned), (expected, destination)):
            if not same_terms(ours, theirs):
                raise UnsafeError(
                    "the bridge answers with other terms than it quoted",
                    "do not lock anything; report it to the operator, and use another bridge",
                )
        if source.lane:
            raise UnsafeError(
                "the bridge wants your lock in a lane", "do not lock anything; report it to the operator"
            )
        changes: dict[str, object] = {"swap_id": created.id, "source": source, "destination": destination}
        if created.receipt is not None:
            promised = destination
            if left_open is not None:
                promised = msgspec.structs.replace(
                    destination, amount=left_open.quoted, deadline=left_open.latest
                )
            self._check_receipt(created.receipt, created.id, source, promised)
            changes |= {"receipt": created.receipt.text, "receipt_signature": created.receipt.signature}
        self._save(**changes)
        self.created = created
        return created

    def _check_receipt(
        self, receipt: ReceiptView, swap_id: SwapId, source: LockTerms, destination: LockTerms
    ) -> None:
        """Raise `UnsafeError` for a receipt that would not bring back this swap."""
        hint = "do not lock anything; report it to the operator"
        key = self.record.bridge_key or receipt.public_key
        if not receipt_is_valid(key, receipt.text, receipt.signature):
            raise UnsafeError("the signature of the bridge's receipt is wrong", hint)
        try:
            promised = read_acceptance(receipt.text)
        except ProtocolError as error:
            raise UnsafeError(f"the bridge's receipt cannot be read: {error}", hint) from None
        if (promised.swap_id, promised.source, promised.destination) != (swap_id, source, destination):
            raise UnsafeError("the bridge's receipt is of another swap", hint)

    async def restore(self) -> RestoreView:
        """Hand the receipt in at a bridge that does not know the swap any more. Raises `UnsafeError`."""
        if not self.record.receipt:
            raise UnsafeError(
                "this recovery file has no receipt: it was made before bridges gave any",
                "tell the operator the swap's id; refund after the deadline with `rainbow swap refund`",
            )
        return await self._client.restore(self.record.receipt, self.record.receipt_signature)

    async def status(self) -> SwapView:
        """Ask the bridge for the swap's status."""
        return await self._client.swap(self.id)

    async def check_counterlock(self, watch: LockWatch) -> LockEvidence:
        """Read the bridge's lock from its chain, once. Raises `UnsafeError` if the secret must stay
        secret; before the bridge has told its terms also what `BridgeClient` raises: ask again later."""
        silence: RainbowError | None = None
        if not (self.record.decided or self.record.revealed):
            try:
                await self._learn_terms()
            except (BridgeUnreachableError, BridgeRefusedError) as error:
                silence = error  # told below, if it is not too late for anything else
        watch.follow(self.record.destination)
        evidence = await watch.look()
        if evidence.status is LockStatus.ABSENT and self.record.decided and not self.record.revealed:
            # A bridge that lost its database may have decided again; and if it does not answer, the lock that
            # is known may appear all the same.
            with suppress(BridgeUnreachableError, BridgeRefusedError):
                await self._learn_terms()
        refusal = may_reveal(
            self.record.destination_timing, self.record.destination.deadline, evidence.chain_time
        )
        if refusal is not None:
            raise UnsafeError(refusal.message, refusal.hint)
        if evidence.status not in {LockStatus.OPEN, LockStatus.ABSENT}:
            raise UnsafeError(
                f"the bridge's lock is {evidence.status.value}", "keep the secret; wait for the refund"
            )
        if silence is not None and evidence.status is LockStatus.ABSENT:
            raise silence
        return evidence

    async def _learn_terms(self) -> None:
        """Ask the bridge with which amount and deadline it locks, and keep them if the quote allows them.
        Raises `UnsafeError` if it does not, and what `BridgeClient` raises."""
        left_open = self.record.counterlock
        if left_open is None or not self.id:
            return
        view = await self.status()
        if view.counterlock is None or not view.counterlock.fixed:
            return
        hint = "keep the secret; your lock is given back, or refund it after its deadline"
        try:
            terms = view.destination.terms.terms()
        except ValueError:
            raise UnsafeError("the bridge's answer has broken terms", hint) from None
        if not allows(left_open, self.record.destination, terms):
            raise UnsafeError(
                f"the bridge wants to lock {terms.amount} {terms.asset.key} until {terms.deadline}; signed "
                f"were {left_open.minimum} or more, until {left_open.latest} or earlier",
                hint,
            )
        if not (self.record.decided and terms == self.record.destination):
            self._save(destination=terms, decided=True)

    async def may_reveal_now(self, watch: LockWatch) -> bool:
        """Return whether the user's own node shows the bridge's lock deep enough. Raises `UnsafeError`."""
        return self.is_deep_enough(await self.check_counterlock(watch))

    def is_deep_enough(self, evidence: LockEvidence) -> bool:
        """Return whether the bridge's lock is as final as its amount demands."""
        return (
            evidence.status is LockStatus.OPEN
            and evidence.confirmations >= self.record.destination_confirmations
            and (evidence.finalized or not self.record.destination_timing.needs_finalized)
        )

    async def bridge_takes_secret(self) -> bool:
        """Return whether the bridge itself calls its lock final, or is past that: earlier it refuses a
        preimage. Its view can lag behind the user's own node by a block or two."""
        view = await self.status()
        return view.secret_shared or view.destination.state not in {
            LegState.NONE,
            LegState.INTENT,
            LegState.SEEN,
        }

    async def reveal_to_bridge(
        self,
        password: str,
        watch: LockWatch,
        authorizer: Authorizer | None = None,
        max_fee: Amount = Amount(0),
    ) -> SwapView:
        """Give the bridge the preimage, so that the relayer claims for the user. Raises `UnsafeError`.

        `authorizer` belongs to the user's own wallet on the destination: it signs where the relayer needs the
        recipient's signature. At most `max_fee` may be taken out of the amount (smallest units).
        """
        terms = await self._client.claim_terms(self.id)
        if terms.needed is Needed.UNAVAILABLE:
            raise UnsafeError(
                f"the relayer does not claim this: {terms.detail}", "claim with your own wallet"
            )
        signed = None
        if terms.needed in {Needed.SIGNATURE, Needed.FEE} and not await self._bridge_has_it():
            signed = await self._authorized(terms, authorizer, max_fee)
        preimage = await self._released(password, watch)
        return await self._client.claim(self.id, preimage, signed)

    async def _authorized(
        self, terms: ClaimTermsView, authorizer: Authorizer | None, max_fee: Amount
    ) -> dict[str, str]:
        if authorizer is None or terms.request is None:
            raise UnsafeError(
                f"the relayer needs your signature: {terms.detail}", "give your wallet's keystore"
            )
        fee = Amount(int(terms.max_fee.amount))
        if fee > max_fee:
            raise UnsafeError(
                f"the relayer would take up to {terms.max_fee.display} {terms.max_fee.asset} for the claim",
                "allow it with --max-fee, or claim with your own wallet",
            )
        request = UnsignedTx(terms.request.format, terms.request.summary, terms.request.payload)
        try:
            return await authorizer.sign(self.record.destination, request, fee)
        except BadAuthorizationError as error:
            raise UnsafeError(
                f"what the relayer wants signed is not a claim of your lock: {error}",
                "sign nothing; claim with your own wallet, and report it to the operator",
            ) from None

    async def claim(self, password: str, watch: LockWatch, wallet: UserWallet) -> str:
        """Claim the destination with the user's own wallet; returns the transaction's id. Raises
        `UnsafeError`."""
        preimage = await self._released(password, watch)
        return await self._send(wallet, Purpose.CLAIM, self.record.destination, preimage)

    async def claim_to_sign(self, password: str, watch: LockWatch, builder: Builder) -> UnsignedTx:
        """Return the claim for a wallet that signs it elsewhere. It contains the preimage, which
        counts as revealed from here on: sign and send it immediately. Raises `UnsafeError`."""
        preimage = await self._released(password, watch)
        return await builder.unsigned(Purpose.CLAIM, self.record.destination, preimage)

    async def lock(self, wallet: UserWallet) -> str:
        """Lock the source with the user's own wallet; returns the transaction's id. Repeating is safe."""
        return await self._send(wallet, Purpose.LOCK, self.record.source)

    async def refund(self, wallet: UserWallet) -> str:
        """Refund the source after its deadline; returns the transaction's id. Needs no bridge."""
        return await self._send(wallet, Purpose.REFUND, self.record.source)

    async def _released(self, password: str, watch: LockWatch) -> Preimage:
        """Open the secret once it is safe to, and record that it is revealed before it is.

        After a crash in between it is unknown whether the secret went out. If there is time, it is sent
        again. If it is too late, it is sent only if the chain shows it or the bridge has it: then only
        claiming helps.
        """
        preimage = self.record.preimage(password)
        try:
            allowed = await self.may_reveal_now(watch)
        except UnsafeError:
            if not (self.record.revealed and await self._is_out(watch)):
                raise
            allowed = True
        if not allowed and not self.record.revealed:
            raise UnsafeError(
                "the bridge's lock is not deep enough yet",
                f"wait for {self.record.destination_confirmations} confirmations on your own node"
                + (", and until it calls the block final" * self.record.destination_timing.needs_finalized),
            )
        if not self.record.revealed:
            self._save(revealed=True)
        return preimage

    async def _is_out(self, watch: LockWatch) -> bool:
        """Return whether the secret is certainly known: a claim whose answer was lost revealed it, too."""
        return (await watch.look()).status is LockStatus.CLAIMED or await self._bridge_has_it()

    async def _bridge_has_it(self) -> bool:
        view = await self.status()
        return view.secret_shared or view.source.state in CLAIMED or view.destination.state in CLAIMED

    async def _send(
        self, wallet: UserWallet, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> str:
        known = self.record.sent.get(purpose.value)
        if known is not None and await wallet.resend(known):
            return known.tx_id
        signed = await wallet.prepare(purpose, terms, preimage)
        self._save(sent={**self.record.sent, purpose.value: signed})
        await wallet.broadcast(signed)
        return signed.tx_id

    def _save(self, **changes: object) -> None:
        self.record = msgspec.structs.replace(self.record, **changes)
        self._recovery.save(self.record)


class UserWallet:
    """A user's own account on one chain: a `ChainPort` opened with the user's key."""

    def __init__(self, port: ChainPort) -> None:
        self.port = port

    @property
    def address(self) -> Address:
        """The account's address."""
        return self.port.account

    async def approvals(self, asset: Asset) -> list[SignedTx]:
        """Sign and send the approvals that the account needs before it can lock this asset; returns them."""
        sent: list[SignedTx] = []
        for action in await self.port.setup_actions((asset,)):
            signed = await self.port.prepare(action, await self._sequence(sent), FeeLevel())
            await self.broadcast(signed)
            sent.append(signed)
        return sent

    async def settled(self, signed: SignedTx, *, pause: float = 1.0) -> TxState:
        """Wait until a transaction is in a block or no longer can be; returns which.

        A node that has lost it (a restart, a reorg, a full mempool) gets the same bytes again.
        UNKNOWN: it has expired.
        """
        while True:
            tip = await self.port.tip()
            state = (await self.port.tx_status(signed)).state
            if state not in {TxState.UNKNOWN, TxState.PENDING}:
                return state
            if state is TxState.UNKNOWN and signed.is_over(tip):
                return state
            if state is TxState.UNKNOWN:
                await self.port.broadcast(signed)
            await asyncio.sleep(pause)

    async def prepare(self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> SignedTx:
        """Sign one transaction; send nothing."""
        action = action_of(purpose, terms, preimage)
        return await self.port.prepare(action, await self._sequence([]), FeeLevel())

    async def broadcast(self, signed: SignedTx) -> None:
        """Send stored bytes. Raises `PortUnavailableError` when the node does not take them."""
        result = await self.port.broadcast(signed)
        if result.outcome in {BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN}:
            return
        status = await self.port.tx_status(signed)
        if status.state not in {TxState.INCLUDED, TxState.PENDING}:
            raise PortUnavailableError(
                f"the node refused transaction {signed.tx_id}: {result.outcome.value} {result.reason}",
                "run the command again: it signs a new transaction only if this one can never land",
            )

    async def resend(self, signed: SignedTx) -> bool:
        """Send an earlier transaction again unless it can never land; returns whether it still counts."""
        tip = await self.port.tip()
        status = await self.port.tx_status(signed)
        if status.state in {TxState.INCLUDED, TxState.PENDING}:
            return True
        if status.state in {TxState.FAILED, TxState.REPLACED} or signed.is_over(tip):
            return False
        await self.broadcast(signed)
        return True

    async def _sequence(self, just_sent: list[SignedTx]) -> int | None:
        sequence = await self.port.next_sequence()
        if sequence is None:
            return None
        return max([sequence, *(tx.sequence + 1 for tx in just_sent if tx.sequence is not None)])


def checked_quote(quote: QuoteView, public_key: str = "") -> QuoteBody:
    """Return what the bridge signed, after checking the signature and that what is shown is what is signed.

    Raises `UnsafeError`.
    """
    hint = "do not use this quote; ask again, or use another bridge"
    if public_key and quote.public_key != public_key:
        raise UnsafeError("the quote is signed with another key than the pinned one", hint)
    if not signature_is_valid(quote.public_key, quote.signed_text, quote.signature):
        raise UnsafeError("the quote's signature is wrong", hint)
    try:
        body = msgspec.json.decode(quote.signed_text, type=QuoteBody)
    except msgspec.DecodeError:
        raise UnsafeError("the signed quote cannot be read", hint) from None
    shown = (
        quote.id,
        quote.source.asset,
        quote.source.amount,
        quote.destination.asset,
        quote.destination.amount,
        quote.destination_min.amount,
        quote.source_deadline.unix,
        quote.destination_deadline.unix,
        quote.gasless,
        quote.lock_fee.value if quote.lock_fee else None,
    )
    signed = (
        body.id,
        body.source.key,
        str(body.price.source),
        body.destination.key,
        str(body.price.destination),
        str(body.least),
        body.source_deadline,
        body.destination_deadline,
        body.gasless,
        value_text(body.lock_fee.value) if body.lock_fee else None,
    )
    if shown != signed:
        raise UnsafeError("the quote shows other terms than are signed", hint)
    if body.source_deadline <= body.destination_deadline:
        raise UnsafeError("your lock would be refundable before the bridge's", hint)
    left_open = body.policy.counterlock
    if left_open is not None and (left_open.quoted, left_open.latest) != (
        body.price.destination,
        body.destination_deadline,
    ):
        raise UnsafeError("the limits of the bridge's lock are not those of this quote", hint)
    return body


def allows(left_open: CounterlockRange, expected: LockTerms, theirs: LockTerms) -> bool:
    """Return whether the terms are within what the signed quote leaves open: its least amount or more, its
    latest deadline or an earlier one, and all else as expected. How much time that leaves is for
    `may_reveal`."""
    return (
        theirs.amount >= left_open.minimum
        and theirs.deadline <= left_open.latest
        and same_terms(
            msgspec.structs.replace(expected, amount=theirs.amount, deadline=theirs.deadline), theirs
        )
    )


def same_terms(ours: LockTerms, theirs: LockTerms) -> bool:
    """Compare terms; hexadecimal addresses may differ in case, which is a checksum on some chains."""

    def text(address: str) -> str:
        return address.lower() if address.startswith("0x") else address

    def plain(terms: LockTerms) -> LockTerms:
        return msgspec.structs.replace(
            terms,
            sender=text(terms.sender),
            recipient=text(terms.recipient),
            contract=text(terms.contract),
        )

    return plain(ours) == plain(theirs)
