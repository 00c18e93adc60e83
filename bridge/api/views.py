"""Turns the store's records into what goes over the wire."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.chains.port import UnsignedTx
from bridge.desk.quotes import SignedQuote
from bridge.protocol.legs import CLAIMED, OPEN
from bridge.protocol.lock_fee import value_text
from bridge.protocol.quote import QuoteBody
from bridge.protocol.status import is_terminal
from bridge.protocol.timelocks import reveal_deadline
from bridge.protocol.types import Amount, ChainId, ChainTiming, Leg, LegState, Purpose, Swap
from bridge.store.records import ChainStatus, StoredSwap, SwapEvent
from bridge.wire.base import Moment, Money
from bridge.wire.market import FeeChoice, FeeLine, LockFeeView, QuoteView
from bridge.wire.swaps import (
    CounterlockView,
    EventView,
    LegView,
    NextStep,
    PriceSeenView,
    SwapView,
    TermsView,
    UnsignedTxView,
)

Statuses = Mapping[ChainId, ChainStatus]


def quote_view(quote: SignedQuote) -> QuoteView:
    """Show a quote."""
    body, price = quote.body, quote.body.price
    received = body.destination
    lines = [
        *_spread_lines(body),
        ("inventory_skew", price.skew, "a discount when negative"),
        ("source_claim", price.costs.source_network, f"our claim on {body.source.chain}"),
        ("destination_lock", price.costs.destination_network, f"our lock on {received.chain}"),
        ("gasless_claim", price.costs.gasless_claim, "our claim for you"),
        ("default", price.costs.default, "swaps that others lock and leave"),
        ("reserve", price.costs.reserve, "what the chain keeps"),
        ("rounding", price.rounding, ""),
    ]
    return QuoteView(
        id=body.id,
        source=Money.of(body.source, price.source),
        destination=Money.of(received, price.destination),
        destination_min=Money.of(received, body.least),
        destination_max=Money.of(received, body.most),
        rate=body.rate,
        price_time=Moment.at(body.price_at),
        fees=[
            FeeLine(name=name, money=Money.of(received, units), note=note)
            for name, units, note in lines
            if units
        ],
        gasless=body.gasless,
        source_deadline=Moment.at(body.source_deadline),
        destination_deadline=Moment.at(body.destination_deadline),
        lock_by=Moment.at(body.policy.lock_by),
        reveal_by=Moment.at(body.reveal_by),
        lock_fee=_lock_fee(body),
        tolerance_ppm=_tolerance_ppm(body),
        source_confirmations=body.policy.source.finality_depth,
        destination_confirmations=body.policy.destination.finality_depth,
        bridge_source_address=body.source_account,
        bridge_destination_address=body.destination_account,
        source_contract=body.source_contract,
        destination_contract=body.destination_contract,
        created=Moment.at(body.created),
        expires=Moment.at(body.expires),
        public_key=quote.public_key,
        signature=quote.signature,
        signed_text=quote.text,
    )


def _lock_fee(body: QuoteBody) -> LockFeeView | None:
    fee = body.lock_fee
    return None if fee is None else LockFeeView(point=FeeChoice(fee.point.value), value=value_text(fee.value))


def _tolerance_ppm(body: QuoteBody) -> int | None:
    agreed = body.policy.price
    return None if agreed is None or body.least < body.most else agreed.tolerance_ppb // 1_000


def _spread_lines(body: QuoteBody) -> list[tuple[str, Amount, str]]:
    """Show the spread by item: the risks that the bridge takes."""
    items, price = body.spread, body.price
    if items is None:
        return [("spread", price.spread, "")]
    notes = {
        "base": "the bridge's own",
        "option": f"your choice to finish, {items.window} s at {items.volatility / 10_000:.0f} % a year",
        "jump": "sudden moves of the price",
        "peg": "a pegged coin that is off",
        "reorg": "blocks that are undone",
    }
    return [(name, units, notes[name]) for name, units in items.amounts(price.gross)]


def swap_view(stored: StoredSwap, statuses: Statuses, *, gasless: bool, last_event: int) -> SwapView:
    """Show a swap."""
    swap = stored.swap
    step, detail = next_step(swap, statuses, gasless=gasless)
    return SwapView(
        id=swap.id,
        status=swap.state,
        next=step,
        detail=detail,
        hashlock=swap.hashlock.hex(),
        source=_leg(swap.source, swap.policy.source, statuses),
        destination=_leg(swap.destination, swap.policy.destination, statuses),
        counterlock=_counterlock(swap),
        gasless=gasless,
        secret_shared=swap.secret_shared,
        lock_by=Moment.at(swap.policy.lock_by),
        reveal_by=reveal_by(swap),
        created=Moment.at_ms(stored.created_ms),
        updated=Moment.at_ms(stored.updated_ms),
        finished=Moment.at_ms(stored.finished_ms) if stored.finished_ms else None,
        last_event=last_event,
        payback=_leg(swap.payback, swap.policy.source, statuses) if swap.payback is not None else None,
    )


def _counterlock(swap: Swap) -> CounterlockView | None:
    left_open, seen = swap.policy.counterlock, swap.price_seen
    if left_open is None:
        return None
    asset = swap.destination.terms.asset
    return CounterlockView(
        fixed=swap.terms_fixed,
        minimum=Money.of(asset, left_open.minimum),
        maximum=Money.of(asset, left_open.maximum),
        latest_deadline=Moment.at(left_open.latest),
        price=None
        if seen is None
        else PriceSeenView(
            source=seen.source,
            destination=seen.destination,
            at=Moment.at(seen.at),
            sources=list(seen.sources),
        ),
    )


def next_step(swap: Swap, statuses: Statuses, *, gasless: bool) -> tuple[NextStep, str]:
    """Return what the user has to do next, and why."""
    source, destination = swap.source.state, swap.destination.state
    source_now, destination_now = (_now(swap, leg, statuses) for leg in (swap.source, swap.destination))
    if is_terminal(swap):
        return NextStep.NONE, "the swap has ended"
    if destination in CLAIMED:
        return NextStep.WAIT, "you have been paid; the bridge claims its side"
    if destination is LegState.FINAL and not swap.secret_known:
        if destination_now > _reveal_by(swap):
            return NextStep.WAIT, "too late to reveal the secret: keep it; both locks are refunded"
        if gasless:
            return NextStep.CLAIM, "check the bridge's lock on chain, then give the bridge the preimage"
        return NextStep.CLAIM, "check the bridge's lock on chain, then claim it with your preimage"
    if source in OPEN and source_now >= swap.source.terms.deadline and not swap.secret_known:
        return NextStep.REFUND, "the deadline has passed: refund your lock"
    if source is LegState.NONE and swap.abandoned is None:
        if source_now <= swap.policy.lock_by:
            return NextStep.LOCK, "lock the source with exactly these terms"
        return NextStep.WAIT, "it is too late to lock; do not lock any more"
    return NextStep.WAIT, _waiting(swap)


def _waiting(swap: Swap) -> str:
    if swap.payback is not None and swap.payback.state in OPEN:
        return (
            "the bridge pays the source back with a lock of the same hashlock, and claims it for you; you "
            "can claim it yourself"
        )
    if swap.payback is not None and swap.payback.state in CLAIMED:
        return "the source's amount was paid back to you; the claim needs more confirmations"
    if swap.attention:
        return swap.attention
    if swap.secret_known:
        return "the relayer claims for you"
    if swap.abandoned is not None:
        return f"the bridge will not lock ({swap.abandoned.value}); you get your lock back"
    match swap.destination.state:
        case LegState.INTENT | LegState.SEEN:
            return "the bridge's lock needs more confirmations"
        case LegState.REFUND_SEEN | LegState.REFUND_FINAL:
            return "the bridge took its lock back; you get yours back"
    return "your lock needs more confirmations"


def unsigned_view(chain: ChainId, purpose: Purpose, tx: UnsignedTx) -> UnsignedTxView:
    """Show an unsigned transaction."""
    return UnsignedTxView(
        purpose=purpose.value, chain=chain, format=tx.format, summary=tx.summary, payload=tx.payload
    )


def event_view(event: SwapEvent) -> EventView:
    """Show an event, without its body."""
    return EventView(
        seq=event.seq,
        swap_id=event.swap_id,
        kind=event.kind,
        status=event.state,
        source_state=event.source_state,
        destination_state=event.destination_state,
        at=Moment.at_ms(event.at_ms),
    )


def reveal_by(swap: Swap) -> Moment:
    """Destination chain time after which the secret must not be revealed."""
    return Moment.at(_reveal_by(swap))


def _reveal_by(swap: Swap) -> int:
    return reveal_deadline(swap.policy.destination, swap.destination.terms.deadline)


def _now(swap: Swap, leg: Leg, statuses: Statuses) -> int:
    """Return the newest known time of the leg's chain."""
    status = statuses.get(leg.terms.chain)
    return max(swap.times.get(leg.terms.chain, 0), status.time if status else 0)


def _leg(leg: Leg, timing: ChainTiming, statuses: Statuses) -> LegView:
    status = statuses.get(leg.terms.chain)
    height = status.tip.block.height if status and status.tip else None
    newest = leg.spend_block or leg.lock_block
    confirmations = max(0, height - newest.height + 1) if newest and height is not None else 0
    return LegView(
        state=leg.state,
        terms=TermsView.of(leg.terms),
        lock_id=leg.lock_id,
        lock_tx=leg.lock_tx,
        lock_height=leg.lock_block.height if leg.lock_block else None,
        spend_tx=leg.spend_tx,
        spend_height=leg.spend_block.height if leg.spend_block else None,
        confirmations=confirmations,
        required_confirmations=timing.finality_depth,
        needs_finalized=timing.needs_finalized,
    )
