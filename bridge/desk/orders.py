"""The swap service: what clients and operators may ask of swaps. No key of any chain is needed here.

Every change of a swap goes through the engine's one apply path, in one database transaction together with
what belongs to it (the quote taken, the reservation handed over, the idempotent answer, the audit entry).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Protocol

import msgspec

from bridge.chains.errors import ActionRefusedError, BadAddressError
from bridge.chains.port import Authorizer, UnsignedTx
from bridge.chains.traits import Traits
from bridge.config import Settings
from bridge.desk.acceptances import AcceptanceBook
from bridge.desk.market import Market
from bridge.desk.quotes import not_enough_credit
from bridge.desk.refused import Reason, RefusedError
from bridge.engine.apply import apply_events, retrying
from bridge.engine.source_lock_check import moved_on
from bridge.protocol.events import Accepted, OperatorCommand, OperatorVerb, SecretShared
from bridge.protocol.hashlock import parse_hashlock
from bridge.protocol.legs import OPEN
from bridge.protocol.quote import QuoteBody
from bridge.protocol.refusals import ProtocolError, RefusalCode
from bridge.protocol.rules import may_share_secret
from bridge.protocol.timelocks import may_reveal
from bridge.protocol.transition import new_swap
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    ChainId,
    LegState,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    Swap,
    SwapId,
    UnixSeconds,
)
from bridge.store import ConflictError, DuplicateError, Store, Transaction
from bridge.store.records import QuoteState, StoredSwap, SwapMeta

_body = msgspec.json.Decoder(QuoteBody)

CLIENT = "client"
"""Who asked, in commands that come from a swap's own user."""


class KeylessPort(Protocol):
    """The part of `ChainPort` that needs no key. `SwapService` uses its pure methods alone."""

    chain: ChainId
    traits: Traits
    authorizer: Authorizer | None

    def lock_id(self, terms: LockTerms) -> LockId:
        """See `ChainPort`."""
        ...

    def parse_address(self, text: str) -> Address:
        """See `ChainPort`."""
        ...

    def unsigned(self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> UnsignedTx:
        """See `ChainPort`."""
        ...

    async def balance(self, address: Address, asset: Asset) -> Amount:
        """See `ChainPort`."""
        ...

    async def close(self) -> None:
        """See `ChainPort`."""
        ...


class Order(msgspec.Struct, frozen=True):
    """A client's wish to take a quote. `owner` may list its swaps ("" for nobody)."""

    quote_id: str
    hashlock: str
    refund_address: str
    recipient: str
    owner: str = ""
    idempotency_key: str = ""

    @property
    def digest(self) -> str:
        """What must be the same when an idempotency key comes again."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()

    @property
    def key_owner(self) -> str:
        """Whose idempotency key it is: the client's with a token. Without one it belongs to the quote, which
        nobody else knows: two strangers may choose the same key."""
        return self.owner or f"quote:{self.quote_id}"


class Placed(msgspec.Struct, frozen=True):
    """A swap; `replayed` when the order had been placed before."""

    swap: StoredSwap
    replayed: bool


class Refund(msgspec.Struct, frozen=True):
    """What became of the wish for a refund. `standing`: the user's locks that they may refund themselves."""

    swap: StoredSwap
    cooperative: bool
    standing: tuple[LockTerms, ...]


class SwapService:
    """Takes orders, hands-over of preimages, wishes for refunds, and operators' commands."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        market: Market,
        ports: Mapping[ChainId, KeylessPort],
        acceptances: AcceptanceBook | None = None,
    ) -> None:
        """`acceptances`: where each accepted swap is written down before it is acknowledged."""
        self._acceptances = acceptances
        self._settings = settings
        self._store = store
        self._market = market
        self._ports = ports

    # ------------------------------------------------------------------ users

    def place(self, order: Order) -> Placed:
        """Turn a quote into a swap that waits for its lock. Raises `RefusedError`."""
        hashlock = _hashlock(order.hashlock)

        def job(tx: Transaction) -> Placed:
            known = self._replayed(tx, order)
            if known is not None:
                return Placed(known, replayed=True)
            body = self._open_quote(tx, order.quote_id)
            self._market.refuse_paused(tx, body.source, body.destination)
            for asset, account, contract in (
                (body.source, body.source_account, body.source_contract),
                (body.destination, body.destination_account, body.destination_contract),
            ):
                status = self._market.reliable(tx, asset.chain, tx.now_ms // 1000)
                if (status.account, status.contract) != (account, contract):
                    raise _quote_gone()  # of a configuration that is no more: nobody would watch its locks
            self._limit_open(tx, order.owner)
            if tx.swaps.by_hashlock(hashlock) is not None:
                raise _hashlock_used()
            stored = self._store_swap(tx, order, body, hashlock)
            return Placed(stored, replayed=False)

        placed = retrying(self._store, job)
        if self._acceptances is not None:
            self._acceptances.write_down(placed.swap.id)
        return placed

    def sold(self, order: Order) -> Asset | None:
        """Return what an order would be paid in, None if it was placed before or its quote is gone."""
        with self._store.reading() as tx:
            answer = tx.idempotency.get(order.key_owner, order.idempotency_key)
            quote = tx.quotes.get(order.quote_id)
            if answer is not None or quote is None:
                return None
            return _body.decode(quote.body).destination

    def get(self, swap_id: SwapId) -> StoredSwap:
        """Return a swap by its unguessable id. Raises `RefusedError`."""
        with self._store.reading() as tx:
            return _found(tx, swap_id)

    def share_secret(self, swap_id: SwapId, preimage: Preimage, authorization: bytes = b"") -> StoredSwap:
        """Take the user's preimage and claim the destination for them, with what they signed for that, which
        `bridge.desk.assisted_claims` has checked. Raises `RefusedError`."""

        def job(tx: Transaction) -> StoredSwap:
            stored = _found(tx, swap_id)
            self._refuse_sharing(tx, stored, preimage)
            if not (stored.swap.secret_shared or authorization or is_gasless(tx, stored)):
                raise RefusedError(
                    Reason.WRONG_STATE,
                    "this swap was not quoted with `gasless`: the relayer does not claim for you",
                    "claim with your own wallet; the secret stays with you",
                )
            if authorization:
                tx.authorizations.put(swap_id, authorization)
            apply_events(tx, swap_id, (SecretShared(preimage),))
            return _found(tx, swap_id)

        return retrying(self._store, job)

    def may_reveal(self, swap_id: SwapId, preimage: Preimage) -> StoredSwap:
        """Return the swap if its user may show the preimage now. Raises `RefusedError`."""
        with self._store.reading() as tx:
            stored = _found(tx, swap_id)
            self._refuse_sharing(tx, stored, preimage)
            return stored

    def may_fund(self, swap_id: SwapId) -> StoredSwap:
        """Return the swap if its source may be locked now. Raises `RefusedError` where a lock would come too
        late, a second time, or to be given back at once."""
        with self._store.reading() as tx:
            stored = _found(tx, swap_id)
            swap = stored.swap
            source = swap.source.terms
            status = tx.chains.get(source.chain)
            now = moved_on(status, tx.now_ms) if status and status.tip else 0
        trouble = ""
        if swap.source.state is not LegState.NONE:
            trouble = "the source was locked already"
        elif swap.abandoned is not None:
            trouble = "the swap was called off"
        elif now > swap.policy.lock_by:
            trouble = "the time to lock is over"
        if trouble:
            raise RefusedError(
                Reason.WRONG_STATE, trouble, "lock nothing; GET the swap to see where it stands"
            )
        return stored

    def refund(self, swap_id: SwapId, *, cooperative: bool) -> Refund:
        """Give the source back: by agreement if wanted and possible, and with transactions to sign otherwise.

        A swap that is not locked yet is called off; a lock that arrives later is given back.
        """

        def job(tx: Transaction) -> StoredSwap:
            _found(tx, swap_id)
            wish = OperatorCommand(OperatorVerb.COOPERATIVE_REFUND, by=CLIENT)
            apply_events(tx, swap_id, (wish,) if cooperative else ())
            return _found(tx, swap_id)

        stored = retrying(self._store, job)
        return Refund(stored, stored.swap.abandoned is not None, _standing(stored.swap))

    # ------------------------------------------------------------------ operators

    def command(self, swap_id: SwapId, verb: OperatorVerb, by: str, note: str) -> StoredSwap:
        """Apply an operator's command; it can never override an invariant. Raises `RefusedError`."""

        def job(tx: Transaction) -> StoredSwap:
            _found(tx, swap_id)
            apply_events(tx, swap_id, (OperatorCommand(verb, by=by, note=note),))
            if verb is OperatorVerb.RETRY:
                tx.courtesies.forgive(swap_id)
            tx.audit.append(by, verb.value, swap_id, note)
            return _found(tx, swap_id)

        return retrying(self._store, job)

    def pause(self, name: str, by: str, note: str) -> None:
        """Set a switch of `bridge.desk.market.pause_of_…`."""
        with self._store.transaction() as tx:
            tx.controls.set(name, note or "paused", by)
            tx.audit.append(by, "pause", name.removeprefix("pause:"), note)

    def resume(self, name: str, by: str) -> None:
        """Clear a switch; clearing it twice does nothing more."""
        with self._store.transaction() as tx:
            tx.controls.clear(name)
            tx.audit.append(by, "resume", name.removeprefix("pause:"))

    # ------------------------------------------------------------------ parts

    def _replayed(self, tx: Transaction, order: Order) -> StoredSwap | None:
        if not order.idempotency_key:
            return None
        tx.lock(f"idempotency:{order.key_owner}:{order.idempotency_key}")
        answer = tx.idempotency.get(order.key_owner, order.idempotency_key)
        if answer is None:
            return None
        if answer.request_digest != order.digest:
            raise RefusedError(
                Reason.IDEMPOTENCY_CONFLICT,
                "this Idempotency-Key came before with another request",
                "repeat the request as it was, or choose a new key for a new request",
            )
        return _found(tx, SwapId(answer.response))

    def _open_quote(self, tx: Transaction, quote_id: str) -> QuoteBody:
        quote = tx.quotes.get(quote_id)
        if quote is None:
            raise RefusedError(Reason.NOT_FOUND, f"there is no quote {quote_id}", "POST /v1/quotes makes one")
        if quote.state is not QuoteState.OPEN or quote.expires_ms <= tx.now_ms:
            raise _quote_gone()
        return _body.decode(quote.body)

    def _limit_open(self, tx: Transaction, owner: str) -> None:
        limit = self._settings.swaps.open_swaps_per_client
        if owner and tx.swaps.count_open(owner) >= limit:
            raise RefusedError(
                Reason.LIMIT_REACHED,
                f"{limit} of your swaps are open, no more are accepted",
                "finish or refund one first",
                self._settings.swaps.quote_ttl,
            )

    def _store_swap(self, tx: Transaction, order: Order, body: QuoteBody, hashlock: bytes) -> StoredSwap:
        swap_id = SwapId(secrets.token_hex(16))
        source, destination = self._terms(order, body, hashlock)
        destination = msgspec.structs.replace(destination, lane=self._free_lane(tx, destination.chain))
        self._require_lockable(source)
        self._require_credit(tx, order, body)
        try:
            tx.quotes.take(body.id)
            swap = new_swap(swap_id, source=source, destination=destination, policy=body.policy)
            meta = _meta(order, body)
            tx.swaps.add(swap, meta)
        except ConflictError:
            raise _quote_gone() from None
        except DuplicateError:
            raise _hashlock_used() from None
        tx.reservations.assign(body.id, swap_id)
        if body.lock_fee is not None:
            tx.credits.hold(swap_id, order.owner, body.lock_fee.value)
        apply_events(tx, swap_id, (Accepted(),))
        if self._acceptances is not None:
            self._acceptances.sign(tx, swap, body, meta)
        if order.idempotency_key:
            tx.idempotency.put(order.key_owner, order.idempotency_key, order.digest, swap_id)
        return _found(tx, swap_id)

    def _require_credit(self, tx: Transaction, order: Order, body: QuoteBody) -> None:
        """Refuse a swap whose lock fee its client's credit does not cover (any more). Raises
        `RefusedError`."""
        if body.lock_fee is None:
            return
        tx.lock(f"credit:{order.owner}")
        available = tx.credits.of(order.owner).available if order.owner else 0
        if available < body.lock_fee.value:
            raise not_enough_credit(available, body.lock_fee.value)

    def _require_lockable(self, source: LockTerms) -> None:
        """Refuse, before it is stored, a swap whose lock no wallet could be given. Raises `RefusedError`."""
        try:
            self._ports[source.chain].unsigned(Purpose.LOCK, source)
        except ActionRefusedError as error:
            raise RefusedError(Reason.WRONG_STATE, str(error), error.hint or "ask the operator") from None

    def _free_lane(self, tx: Transaction, chain: ChainId) -> int:
        """Return a lane that no open swap of ours holds, 0 where there is none (left)."""
        lanes = self._settings.chains.get(chain).lane_count
        if not lanes:
            return 0
        tx.lock(f"lanes:{chain}")
        taken = tx.swaps.lanes_in_use(chain)
        return next((lane for lane in range(1, lanes + 1) if lane not in taken), 0)

    def _terms(self, order: Order, body: QuoteBody, hashlock: bytes) -> tuple[LockTerms, LockTerms]:
        sender = self._address(body.source.chain, order.refund_address, body.source_account, "refund_address")
        recipient = self._address(
            body.destination.chain, order.recipient, body.destination_account, "recipient"
        )
        return body.terms(hashlock, refund_address=sender, recipient=recipient)

    def _address(self, chain: ChainId, text: str, ours: Address, name: str) -> Address:
        try:
            address = self._ports[chain].parse_address(text)
        except BadAddressError as error:
            raise RefusedError(
                Reason.BAD_ADDRESS, f"{name}: {error}", error.hint or f"give an address of {chain}"
            ) from None
        if address == ours:
            raise RefusedError(
                Reason.BAD_ADDRESS, f"{name} is the bridge's own address", "give an address of yours"
            )
        return address

    def _refuse_sharing(self, tx: Transaction, stored: StoredSwap, preimage: Preimage) -> None:
        """Refuse a preimage that the user would give away without getting anything. Raises `RefusedError`."""
        swap = stored.swap
        refusal = may_share_secret(swap, preimage)
        if refusal is None and not swap.secret_shared:
            status = tx.chains.get(swap.destination.terms.chain)
            # A relayer that lost its chain keeps an old time: what has passed since counts, too.
            heard = moved_on(status, tx.now_ms) if status and status.tip else UnixSeconds(0)
            now = max(heard, swap.times.get(swap.destination.terms.chain, heard))
            refusal = may_reveal(swap.policy.destination, swap.destination.terms.deadline, now)
        if refusal is not None:
            reason = Reason.WRONG_STATE
            if refusal.code is RefusalCode.WRONG_PREIMAGE:
                reason = Reason.WRONG_PREIMAGE
            raise RefusedError(reason, refusal.message, refusal.hint or "GET the swap to see where it stands")


def is_gasless(tx: Transaction, stored: StoredSwap) -> bool:
    """Tell whether the relayer claims the destination of this swap for its user."""
    quote = tx.quotes.get(stored.meta.quote_id) if stored.meta.quote_id else None
    return quote is not None and _body.decode(quote.body).gasless


def _standing(swap: Swap) -> tuple[LockTerms, ...]:
    standing = [swap.source.terms] if swap.source.state in OPEN else []
    return (*standing, *(stray.terms for stray in swap.source.strays if stray.state in OPEN))


def _meta(order: Order, body: QuoteBody) -> SwapMeta:
    return SwapMeta(
        quote_id=body.id,
        client=order.owner,
        refund_address=order.refund_address,
        recipient=order.recipient,
        idempotency_key=order.idempotency_key,
    )


def _found(tx: Transaction, swap_id: SwapId) -> StoredSwap:
    stored = tx.swaps.get(swap_id)
    if stored is None:
        raise RefusedError(
            Reason.NOT_FOUND, "there is no such swap", "check the id: it is known to its maker alone"
        )
    return stored


def _hashlock(text: str) -> bytes:
    try:
        return parse_hashlock(text)
    except ProtocolError as error:
        raise RefusedError(Reason.BAD_HASHLOCK, str(error), error.hint) from None


def _hashlock_used() -> RefusedError:
    return RefusedError(
        Reason.HASHLOCK_USED,
        "a swap with this hashlock exists",
        "make a fresh preimage for each swap: a secret that was used once may be known",
    )


def _quote_gone() -> RefusedError:
    return RefusedError(Reason.QUOTE_GONE, "the quote has expired or was taken", "ask for a new quote")
