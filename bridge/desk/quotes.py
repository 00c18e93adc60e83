"""Quotes: priced, reserved, signed, limited, and gone in seconds.

A quote fixes everything but the user's hashlock and addresses: amounts, deadlines, contracts, our accounts.
Its inventory and the gas to finish are reserved in the transaction that stores it.
"""

from __future__ import annotations

import secrets
from fractions import Fraction

import msgspec

from bridge.config import Settings, to_text
from bridge.desk.inventory import RETRY_SECONDS, Inventory, Need
from bridge.desk.market import Market, Offer
from bridge.desk.records import Records
from bridge.desk.refused import Reason, RefusedError
from bridge.keys.quote_signature import QuoteSigner
from bridge.protocol.lock_fee import MICRO, FeePoint, LockFee, value_text
from bridge.protocol.option import PPB
from bridge.protocol.pricing import FixedSide, Price, PriceRefusalCode, PriceRefusedError, price
from bridge.protocol.quote import QuoteBody
from bridge.protocol.timelocks import Deadlines, counterlock_slack
from bridge.protocol.types import Amount, ChainTiming, CounterlockRange, SwapPolicy, UnixSeconds
from bridge.store import Store, Transaction
from bridge.store.records import Quote


class QuoteAsk(msgspec.Struct, frozen=True):
    """What a client asks for. `client` is whom limits are counted against, `owner` of which token, ""
    without.
    """

    source: str
    destination: str
    amount: Amount
    fixed: FixedSide
    gasless: bool
    client: str
    owner: str = ""
    firm: bool = False
    """What the user gets is fixed now; always so where the user named it."""
    fee: FeePoint | None = None
    """What the client stakes on finishing; None: little, if its credit is enough."""
    without_fee: bool = False
    """The client stakes nothing."""

    @property
    def is_firm(self) -> bool:
        """Whether the quote fixes what the user gets."""
        return self.firm or self.fixed is FixedSide.DESTINATION


class SignedQuote(msgspec.Struct, frozen=True):
    """A quote with the exact text that was signed."""

    body: QuoteBody
    text: str
    signature: str
    public_key: str


class QuoteBook:
    """Makes quotes, remembers them and lets them expire."""

    def __init__(
        self, settings: Settings, store: Store, market: Market, inventory: Inventory, signer: QuoteSigner
    ) -> None:
        self._settings = settings
        self._store = store
        self._market = market
        self._inventory = inventory
        self._signer = signer
        self._records = Records(settings.desk, market.prices, settings.assets_by_key())

    @property
    def public_key(self) -> str:
        """The key that verifies quotes, hex."""
        return self._signer.public_key

    def make(self, ask: QuoteAsk) -> SignedQuote:
        """Price, reserve, sign and store a quote. Raises `RefusedError`."""
        with self._store.transaction() as tx:
            tx.lock(f"quotes:{ask.client}")
            self._check_limits(tx, ask.client)
            offer, body = self._priced_for(tx, ask)
            text = msgspec.json.encode(body).decode()
            quote = Quote(
                id=body.id,
                client=ask.client,
                source_asset=ask.source,
                destination_asset=ask.destination,
                source_amount=body.price.source,
                destination_amount=body.price.destination,
                body=text,
                created_ms=tx.now_ms,
                expires_ms=tx.now_ms + self._settings.swaps.quote_ttl * 1000,
            )
            known = self._records.is_known(tx, ask.owner)
            most = body.most
            if not known:
                self._check_stranger(tx, offer, most)
            needs = [Need(offer.destination, most), *offer.gas]
            self._inventory.hold(tx, needs, body.id, quote.expires_ms, firm=known)
            tx.quotes.add(quote)
        return SignedQuote(body, text, self._signer.sign(text), self.public_key)

    def _priced_for(self, tx: Transaction, ask: QuoteAsk) -> tuple[Offer, QuoteBody]:
        """Return the offer and the quote with the lock fee that was asked for; without a wish with the small
        one, where the client's credit is enough for it."""
        credit = tx.credits.of(ask.owner).available if ask.owner and not ask.without_fee else 0
        point = None if ask.without_fee else ask.fee or (FeePoint.LOW if credit else None)
        while True:
            offer = self._market.offer(
                tx,
                ask.source,
                ask.destination,
                gasless=ask.gasless,
                amount=ask.amount,
                fixed=ask.fixed,
                firm=ask.is_firm,
                fee=point,
            )
            body = self._body(tx, ask, offer, point)
            if body.lock_fee is None or body.lock_fee.value <= credit:
                return offer, body
            if ask.fee is not None:
                raise not_enough_credit(credit, body.lock_fee.value)
            point = None

    def sweep(self) -> int:
        """Let overdue quotes expire and give back what they hold; returns how many."""
        with self._store.reading() as tx:
            if not (tx.quotes.has_expired() or tx.reservations.has_expired()):
                return 0
        with self._store.transaction() as tx:
            expired = tx.quotes.expire()
            tx.reservations.release_expired()
        return len(expired)

    def _check_limits(self, tx: Transaction, client: str) -> None:
        limits = self._settings.swaps
        wait = f"take one, or let one expire (after {limits.quote_ttl} s)"
        if tx.quotes.count_open(client) >= limits.open_quotes_per_client:
            raise RefusedError(
                Reason.LIMIT_REACHED,
                f"you hold {limits.open_quotes_per_client} open quotes, no more are given",
                wait,
                limits.quote_ttl,
            )
        if tx.quotes.count_unfunded(client) >= limits.unfunded_swaps_per_client:
            raise RefusedError(
                Reason.LIMIT_REACHED,
                f"{limits.unfunded_swaps_per_client} of your swaps still wait for their lock",
                "fund one of them, or let their windows pass",
                limits.lock_window,
            )
        if tx.quotes.count_all_open() >= limits.open_quotes:
            raise RefusedError(
                Reason.LIMIT_REACHED, "too many quotes are open", "try again soon", limits.quote_ttl
            )

    def _check_stranger(self, tx: Transaction, offer: Offer, amount: Amount) -> None:
        asset = offer.destination
        always = self._records.units_worth(asset, Fraction(self._settings.desk.strangers_order_value))
        most = self._inventory.largest_of_strangers(tx, asset, always)
        if amount > most:
            raise RefusedError(
                Reason.NO_INVENTORY,
                f"a client without a record can have {to_text(most, asset.decimals)} {asset.key} now",
                "ask for less; with a token whose swaps were finished you can have more",
                RETRY_SECONDS,
            )

    def _body(self, tx: Transaction, ask: QuoteAsk, offer: Offer, point: FeePoint | None) -> QuoteBody:
        chains = self._settings.chains
        priced = _priced(offer, ask)
        source = chains.timing(offer.source, priced.source)
        minimum, maximum = _range(offer, priced.destination)
        destination = chains.timing(offer.destination, maximum)
        deadlines = self.deadlines(offer, source, destination)
        swaps = self._settings.swaps
        created = tx.now_ms // 1000
        return QuoteBody(
            id=secrets.token_hex(16),
            source=offer.source,
            destination=offer.destination,
            price=priced,
            rate=offer.rate_text,
            price_at=offer.price_at,
            gasless=ask.gasless,
            policy=SwapPolicy(
                source=source,
                destination=destination,
                user_window=swaps.user_window,
                outage_budget=swaps.outage_budget,
                lock_by=deadlines.lock_by,
                halt_budget=swaps.halt_budget,
                price=offer.price_terms,
                counterlock=CounterlockRange(
                    quoted=priced.destination,
                    minimum=minimum,
                    maximum=maximum,
                    latest=deadlines.destination,
                    slack=counterlock_slack(destination),
                ),
            ),
            source_deadline=deadlines.source,
            destination_deadline=deadlines.destination,
            source_contract=offer.source_status.contract,
            destination_contract=offer.destination_status.contract,
            source_account=offer.source_status.account,
            destination_account=offer.destination_status.account,
            created=UnixSeconds(created),
            expires=UnixSeconds(created + swaps.quote_ttl),
            spread=offer.spread,
            lock_fee=None if point is None else self._lock_fee(offer, priced.source, point),
        )

    def _lock_fee(self, offer: Offer, amount: Amount, point: FeePoint) -> LockFee:
        price = self._market.prices.price(offer.source.key).value
        exact = price * amount * MICRO * offer.fee_ppb / (10**offer.source.decimals * PPB)
        return LockFee(point, offer.fee_ppb, -(-exact.numerator // exact.denominator))

    def deadlines(self, offer: Offer, source: ChainTiming, destination: ChainTiming) -> Deadlines:
        """Return the computed deadlines of a swap sold now; the quote's own life counts as time to lock."""
        return self._market.deadlines((offer.source_status, offer.destination_status), source, destination)


def not_enough_credit(available: int, needed: int) -> RefusedError:
    """Return the refusal of a lock fee that the client's credit does not cover; millionths."""
    return RefusedError(
        Reason.LIMIT_REACHED,
        f"the lock fee is {value_text(needed)}, your credit has {value_text(available)} left",
        "finish an open swap, ask for a quote without a lock fee, or agree with the operator on more credit",
        RETRY_SECONDS,
    )


def _range(offer: Offer, quoted: Amount) -> tuple[Amount, Amount]:
    """Return the least and the most that may be locked for the user: no less than a lock can hold, no more
    than the chain knows."""
    terms, ppb = offer.terms, offer.range_ppb
    least = max(-(-quoted * (PPB - ppb) // PPB), terms.limits.min_destination)
    most = min(quoted * (PPB + ppb) // PPB, terms.destination_capacity)
    return Amount(min(quoted, least)), Amount(max(quoted, most))


def _priced(offer: Offer, ask: QuoteAsk) -> Price:
    try:
        return price(
            offer.terms,
            source=offer.source,
            destination=offer.destination,
            fixed=ask.fixed,
            amount=ask.amount,
        )
    except PriceRefusedError as error:
        hint = error.hint or "GET /v1/pairs shows the limits"
        if error.code is PriceRefusalCode.AMOUNT_OVERFLOW:
            hint = "swap a smaller amount"
        raise RefusedError(Reason.AMOUNT_OUT_OF_RANGE, str(error), hint) from None
