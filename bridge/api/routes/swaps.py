"""Swaps: take a quote, show a swap, give the preimage, get the source back."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from bridge.api.auth import OPTIONAL, Owner, RequiredOwner
from bridge.api.problems import ApiError, Kind, responses
from bridge.api.services import Services, Use
from bridge.api.views import reveal_by, swap_view, unsigned_view
from bridge.desk.orders import Order, is_gasless
from bridge.protocol.types import Preimage, Purpose, SwapId, SwapState
from bridge.store.records import StoredSwap
from bridge.wire.base import Moment, Money
from bridge.wire.requests import ClaimRequest, RefundRequest, SwapIdPath, SwapRequest, TransactionRequest
from bridge.wire.swaps import (
    ClaimTermsView,
    ReceiptView,
    RefundView,
    SwapCreated,
    SwapList,
    SwapView,
    UnsignedTxView,
)

router = APIRouter(prefix="/v1/swaps", tags=["swaps"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[A-Za-z0-9_-]{8,64}$",
        description="Repeat a request under the same key and you get the same swap, never a second one.",
    ),
]


class PageQuery(BaseModel):
    """Which page of swaps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=100, description="`next_cursor` of the page before.")
    status: SwapState | None = None


@router.post(
    "",
    status_code=201,
    openapi_extra=OPTIONAL,
    responses={
        **responses(
            Kind.NOT_FOUND,
            Kind.INVALID_REQUEST,
            Kind.BAD_ADDRESS,
            Kind.QUOTE_GONE,
            Kind.HASHLOCK_USED,
            Kind.IDEMPOTENCY_CONFLICT,
            Kind.LIMIT_REACHED,
            Kind.UNAUTHORIZED,
            Kind.PAUSED,
            Kind.CHAIN_UNAVAILABLE,
        ),
        200: {"description": "The swap that this Idempotency-Key made before.", "model": SwapCreated},
    },
)
async def create_swap(
    request: SwapRequest,
    services: Use,
    owner: Owner,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> SwapCreated:
    """Take a quote. Answers with the exact lock terms and the unsigned transaction that funds the swap."""
    order = Order(
        quote_id=request.quote_id,
        hashlock=request.hashlock,
        refund_address=request.refund_address,
        recipient=request.recipient,
        owner=owner,
        idempotency_key=idempotency_key or "",
    )
    asset = await asyncio.to_thread(services.swaps.sold, order)
    if asset is not None:
        await services.paperwork.require_receiver(asset, order.recipient)
    placed = await asyncio.to_thread(services.swaps.place, order)
    view = await asyncio.to_thread(view_of, services, placed.swap)
    response.headers["Location"] = f"/v1/swaps/{view.id}"
    if placed.replayed:
        response.status_code = 200
    terms = placed.swap.swap.source.terms
    lock = await services.paperwork.transaction(Purpose.LOCK, terms)
    return SwapCreated(
        **msgspec.structs.asdict(view),
        transaction=unsigned_view(terms.chain, Purpose.LOCK, lock),
        receipt=await asyncio.to_thread(_receipt, services, view.id),
    )


@router.get("", responses=responses(Kind.UNAUTHORIZED, Kind.INVALID_REQUEST))
def list_swaps(services: Use, owner: RequiredOwner, page: Annotated[PageQuery, Query()]) -> SwapList:
    """List the swaps made with your client token, newest first."""
    return page_of(services, page, owner)


@router.get("/{swap_id}", responses=responses(Kind.NOT_FOUND, Kind.INVALID_REQUEST))
def get_swap(swap_id: SwapIdPath, services: Use) -> SwapView:
    """Show a swap: its status, both legs, deadlines, and whose turn it is."""
    return view_of(services, services.swaps.get(swap_id))


@router.get(
    "/{swap_id}/claim",
    responses=responses(Kind.NOT_FOUND, Kind.INVALID_REQUEST, Kind.NO_PRICE, Kind.CHAIN_UNAVAILABLE),
)
async def claim_terms(swap_id: SwapIdPath, services: Use) -> ClaimTermsView:
    """Return the terms on which the relayer claims for you, and what you sign for it where needed."""
    terms = await services.handover.terms(swap_id)
    swap = (await asyncio.to_thread(services.swaps.get, swap_id)).swap
    destination = swap.destination.terms
    return ClaimTermsView(
        needed=terms.needed,
        max_fee=Money.of(destination.asset, terms.max_fee),
        request=None
        if terms.request is None
        else unsigned_view(destination.chain, Purpose.CLAIM, terms.request),
        detail=terms.detail,
        reveal_by=reveal_by(swap),
    )


@router.post(
    "/{swap_id}/claim",
    responses=responses(
        Kind.NOT_FOUND,
        Kind.INVALID_REQUEST,
        Kind.WRONG_PREIMAGE,
        Kind.BAD_AUTHORIZATION,
        Kind.WRONG_STATE,
        Kind.NO_PRICE,
        Kind.CHAIN_UNAVAILABLE,
    ),
)
async def claim_swap(swap_id: SwapIdPath, request: ClaimRequest, services: Use) -> SwapView:
    """Give the bridge the preimage: the relayer claims for you. Check the bridge's lock first."""
    stored = await services.handover.take(swap_id, preimage_of(request.preimage), request.authorization)
    return await asyncio.to_thread(view_of, services, stored)


@router.post(
    "/{swap_id}/transactions",
    responses=responses(Kind.NOT_FOUND, Kind.INVALID_REQUEST, Kind.WRONG_PREIMAGE, Kind.WRONG_STATE),
)
async def make_transaction(swap_id: SwapIdPath, request: TransactionRequest, services: Use) -> UnsignedTxView:
    """Make a fresh transaction for your own wallet to sign: a lock, a claim or a refund."""
    purpose = Purpose(request.purpose.value)
    preimage = None if request.preimage is None else preimage_of(request.preimage)
    if (purpose is Purpose.CLAIM) != (preimage is not None):
        raise ApiError(
            Kind.INVALID_REQUEST,
            "a claim needs its preimage, and nothing else takes one",
            "send `preimage` with purpose `claim` alone",
        )
    if preimage is not None:
        stored = await asyncio.to_thread(services.swaps.may_reveal, swap_id, preimage)
        terms = stored.swap.destination.terms
    elif purpose is Purpose.LOCK:
        terms = (await asyncio.to_thread(services.swaps.may_fund, swap_id)).swap.source.terms
    else:
        terms = (await asyncio.to_thread(services.swaps.get, swap_id)).swap.source.terms
    return unsigned_view(terms.chain, purpose, await services.paperwork.transaction(purpose, terms, preimage))


@router.post("/{swap_id}/refund", responses=responses(Kind.NOT_FOUND, Kind.INVALID_REQUEST))
async def refund_swap(swap_id: SwapIdPath, request: RefundRequest, services: Use) -> RefundView:
    """Ask for the source back, by agreement if possible; else sign the refund after the deadline."""
    refund = await asyncio.to_thread(services.swaps.refund, swap_id, cooperative=request.cooperative)
    terms = refund.swap.swap.source.terms
    transactions = await asyncio.gather(
        *(services.paperwork.transaction(Purpose.REFUND, standing) for standing in refund.standing)
    )
    return RefundView(
        swap=await asyncio.to_thread(view_of, services, refund.swap),
        cooperative=refund.cooperative,
        not_before=Moment.at(terms.deadline),
        transactions=[unsigned_view(terms.chain, Purpose.REFUND, tx) for tx in transactions],
    )


def _receipt(services: Services, swap_id: SwapId) -> ReceiptView | None:
    receipt = services.acceptances.receipt(swap_id)
    return None if receipt is None else ReceiptView(**msgspec.structs.asdict(receipt))


def preimage_of(text: SecretStr) -> Preimage:
    """Return the preimage of a request."""
    return Preimage(bytes.fromhex(text.get_secret_value().removeprefix("0x")))


def page_of(services: Services, page: PageQuery, owner: str) -> SwapList:
    """Return a page of an owner's swaps; of all swaps for ""."""
    with services.store.reading() as tx:
        found = tx.swaps.page(
            page.limit + 1,
            _cursor(page.cursor) if page.cursor else None,
            states=(page.status,) if page.status else (),
            client=owner,
        )
    shown = found[: page.limit]
    more = len(found) > page.limit
    return SwapList(
        swaps=[view_of(services, stored) for stored in shown],
        next_cursor=_encode_cursor(shown[-1]) if more else None,
    )


def view_of(services: Services, stored: StoredSwap) -> SwapView:
    """Show a swap as it is now."""
    with services.store.reading() as tx:
        return swap_view(
            stored,
            tx.chains.all(),
            gasless=is_gasless(tx, stored),
            last_event=tx.events.last_seq_of(stored.id),
        )


def _encode_cursor(stored: StoredSwap) -> str:
    return base64.urlsafe_b64encode(f"{stored.created_ms}.{stored.id}".encode()).decode().rstrip("=")


def _cursor(text: str) -> tuple[int, str]:
    try:
        created, _, swap_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(".")
        if len(swap_id) != 32 or not 0 < int(created) < 1 << 63:
            raise ValueError
    except (ValueError, binascii.Error):
        raise ApiError(
            Kind.INVALID_REQUEST,
            "this is not a cursor of ours",
            "use `next_cursor` of the page before",
        ) from None
    return int(created), swap_id
