"""A bridge that gives the same answers every time, over real HTTP on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    ChainId,
    LegState,
    LockTerms,
    SwapId,
    SwapState,
    UnixSeconds,
)
from bridge.wire.base import Moment, Money, Wire
from bridge.wire.market import AssetView, FeeLine, PairList, PairView, QuoteView
from bridge.wire.swaps import LegView, NextStep, RefundView, SwapView, TermsView, UnsignedTxView

RED = Asset(ChainId("red"), "RED", 8)
BLUE = Asset(ChainId("blue"), "BLU", 8)
GREEN = Asset(ChainId("green"), "GRN", 8)
COIN = 10**8
NOW = Moment.at(1_800_000_000)
DEADLINE = UnixSeconds(1_800_003_600)
SWAP_ID = SwapId("5" * 32)


def pair(source: Asset, destination: Asset) -> PairView:
    return PairView(
        source=AssetView.of(source),
        destination=AssetView.of(destination),
        available=True,
        reason="",
        rate="2",
        price_time=NOW,
        spread_ppm=3_000,
        minimum=Money.of(source, COIN // 1_000),
        maximum=Money.of(source, 10 * COIN),
        gasless_claim=True,
        timing=None,
    )


PAIRS = PairList(pairs=[pair(RED, BLUE), pair(RED, GREEN), pair(BLUE, RED)])
QUOTE = QuoteView(
    id="1" * 32,
    source=Money.of(RED, COIN),
    destination=Money.of(BLUE, 2 * COIN),
    destination_min=Money.of(BLUE, 2 * COIN - 2_000),
    destination_max=Money.of(BLUE, 2 * COIN + 2_000),
    rate="2",
    price_time=NOW,
    fees=[FeeLine(name="spread", money=Money.of(BLUE, 600_000))],
    gasless=False,
    lock_fee=None,
    tolerance_ppm=500,
    source_deadline=Moment.at(DEADLINE),
    destination_deadline=Moment.at(DEADLINE - 1_800),
    lock_by=NOW,
    reveal_by=NOW,
    source_confirmations=6,
    destination_confirmations=6,
    bridge_source_address="bridge",
    bridge_destination_address="bridge",
    source_contract="",
    destination_contract="",
    created=NOW,
    expires=NOW,
    public_key="",
    signature="",
    signed_text="",
)


def leg(asset: Asset, state: LegState) -> LegView:
    terms = LockTerms(
        asset.chain,
        Address(""),
        Address("alice"),
        Address("bridge"),
        asset,
        Amount(COIN),
        bytes(32),
        DEADLINE,
    )
    return LegView(
        state=state,
        terms=TermsView.of(terms),
        lock_id="",
        lock_tx="",
        lock_height=None,
        spend_tx="",
        spend_height=None,
        confirmations=0,
        required_confirmations=6,
    )


def swap(status: SwapState, state: LegState) -> SwapView:
    return SwapView(
        id=SWAP_ID,
        status=status,
        next=NextStep.WAIT,
        detail="your lock needs more confirmations",
        hashlock="00" * 32,
        source=leg(RED, state),
        destination=leg(BLUE, state),
        counterlock=None,
        gasless=False,
        secret_shared=False,
        lock_by=NOW,
        reveal_by=NOW,
        created=NOW,
        updated=NOW,
        finished=None,
        last_event=1,
    )


SOURCE_SEEN = swap(SwapState.AWAIT_LOCK, LegState.SEEN)
UNSIGNED = UnsignedTxView(
    purpose="refund", chain=RED.chain, format="plain", summary="refund", payload={"lines": ["[1]"]}
)
REFUND = RefundView(
    swap=SOURCE_SEEN, cooperative=False, not_before=Moment.at(DEADLINE), transactions=[UNSIGNED]
)
NOTHING_TO_REFUND = RefundView(
    swap=swap(SwapState.COMPLETED, LegState.CLAIM_FINAL),
    cooperative=False,
    not_before=Moment.at(DEADLINE),
    transactions=[],
)


@contextmanager
def bridge(answers: dict[tuple[str, str], Wire]) -> Iterator[str]:
    """Serve `answers` by method and path; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            found = answers.get((self.command, self.path.partition("?")[0]))
            body = b"{}" if found is None else msgspec.json.encode(found)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 -- names of the library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


ALL_ANSWERS: dict[tuple[str, str], Wire] = {
    ("GET", "/v1/pairs"): PAIRS,
    ("POST", "/v1/quotes"): QUOTE,
    ("GET", f"/v1/swaps/{SWAP_ID}"): SOURCE_SEEN,
}
