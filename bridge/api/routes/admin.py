"""For operators: pause, retry, look at inventory and the audit trail. Every call needs a key with a scope."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field

from bridge.api.auth import operator
from bridge.api.problems import ApiError, Kind, responses
from bridge.api.routes.swaps import PageQuery, page_of, preimage_of, view_of
from bridge.api.services import Services, Use
from bridge.desk import operator as operator_desk
from bridge.desk.market import pause_of_chain, pause_of_pair
from bridge.desk.refused import Reason, RefusedError
from bridge.protocol.events import OperatorVerb
from bridge.protocol.types import ChainId, LockId, TxId
from bridge.wire.base import Moment, Money
from bridge.wire.operator import (
    AuditLine,
    AuditView,
    InventoryLine,
    InventoryView,
    PauseView,
    UnprovenLine,
    UnprovenView,
    UnreadLine,
    UnreadView,
)
from bridge.wire.requests import AssetKey, DismissRequest, NoteRequest, SettleRequest, SwapIdPath
from bridge.wire.swaps import SwapList, SwapView

router = APIRouter(
    prefix="/v1/admin",
    tags=["admin"],
    responses=responses(Kind.UNAUTHORIZED, Kind.FORBIDDEN, Kind.INVALID_REQUEST),
)

Reader = Annotated[str, Depends(operator("read"))]
Pauser = Annotated[str, Depends(operator("pause"))]
Retrier = Annotated[str, Depends(operator("retry"))]
Settler = Annotated[str, Depends(operator("settle"))]

UNREAD_SHOWN = 100
"""The most unread items that are listed at a time."""
ItemPath = Annotated[int, PathParameter(ge=1, le=(1 << 63) - 1)]


class AuditQuery(BaseModel):
    """Which page of the audit trail."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(50, ge=1, le=200)
    cursor: int | None = Field(None, ge=1, le=(1 << 63) - 1)


@router.get("/inventory")
def get_inventory(services: Use, by: Reader) -> InventoryView:  # noqa: ARG001 -- the key was checked
    """Show what the bridge holds, has reserved and can still sell."""
    with services.store.reading() as tx:
        holdings = services.inventory.all(tx)
    return InventoryView(
        assets=[
            InventoryLine(
                asset=holding.asset.key,
                balance=None if holding.balance is None else Money.of(holding.asset, holding.balance),
                reserved=Money.of(holding.asset, holding.reserved),
                kept=Money.of(holding.asset, holding.kept),
                available=Money.of(holding.asset, holding.available),
                seen=Moment.at_ms(holding.seen_ms) if holding.seen_ms else None,
            )
            for holding in holdings
        ]
    )


@router.get("/swaps")
def list_all_swaps(services: Use, by: Reader, page: Annotated[PageQuery, Query()]) -> SwapList:  # noqa: ARG001
    """List all swaps, newest first."""
    return page_of(services, page, "")


@router.get("/audit")
def get_audit(services: Use, by: Reader, page: Annotated[AuditQuery, Query()]) -> AuditView:  # noqa: ARG001
    """Show what operators did, newest first."""
    with services.store.reading() as tx:
        found = tx.audit.before(page.cursor, page.limit + 1)
    shown = found[: page.limit]
    return AuditView(
        entries=[
            AuditLine(
                seq=entry.seq,
                by=entry.by,
                verb=entry.verb,
                subject=entry.subject,
                detail=entry.detail,
                at=Moment.at_ms(entry.at_ms),
            )
            for entry in shown
        ],
        next_cursor=str(shown[-1].seq) if len(found) > page.limit else None,
    )


def _require_chain(services: Services, chain: ChainId) -> None:
    known = [name for name, _ in services.settings.chains.items()]
    if chain not in known:
        raise RefusedError(Reason.NOT_FOUND, f"there is no chain {chain!r}", f"there are {', '.join(known)}")


@router.get("/pauses")
def list_pauses(services: Use, by: Reader) -> PauseView:  # noqa: ARG001
    """List what is paused."""
    return _pauses(services)


@router.put("/chains/{chain}/pause", responses=responses(Kind.NOT_FOUND))
def pause_chain(chain: ChainId, request: NoteRequest, services: Use, by: Pauser) -> PauseView:
    """Sell nothing on a chain. Swaps that have begun continue."""
    _require_chain(services, chain)
    services.swaps.pause(pause_of_chain(chain), by, request.note)
    return _pauses(services)


@router.delete("/chains/{chain}/pause", responses=responses(Kind.NOT_FOUND))
def resume_chain(chain: ChainId, services: Use, by: Pauser) -> PauseView:
    """Sell on a chain again."""
    _require_chain(services, chain)
    services.swaps.resume(pause_of_chain(chain), by)
    return _pauses(services)


@router.put("/pairs/{source}/{destination}/pause", responses=responses(Kind.UNKNOWN_PAIR))
def pause_pair(
    source: AssetKey, destination: AssetKey, request: NoteRequest, services: Use, by: Pauser
) -> PauseView:
    """Stop selling one direction."""
    services.swaps.pause(_known_pair(services, source, destination), by, request.note)
    return _pauses(services)


@router.delete("/pairs/{source}/{destination}/pause", responses=responses(Kind.UNKNOWN_PAIR))
def resume_pair(source: AssetKey, destination: AssetKey, services: Use, by: Pauser) -> PauseView:
    """Sell one direction again."""
    services.swaps.resume(_known_pair(services, source, destination), by)
    return _pauses(services)


@router.post("/swaps/{swap_id}/retry", responses=responses(Kind.NOT_FOUND))
def retry_swap(swap_id: SwapIdPath, request: NoteRequest, services: Use, by: Retrier) -> SwapView:
    """Clear a swap's alarm and retry what is due."""
    return view_of(services, services.swaps.command(swap_id, OperatorVerb.RETRY, by, request.note))


@router.post("/swaps/{swap_id}/cooperative-refund", responses=responses(Kind.NOT_FOUND))
def refund_swap(swap_id: SwapIdPath, request: NoteRequest, services: Use, by: Retrier) -> SwapView:
    """Agree to give the source back if the invariants allow it; stray locks too."""
    stored = services.swaps.command(swap_id, OperatorVerb.COOPERATIVE_REFUND, by, request.note)
    return view_of(services, stored)


@router.get("/unproven")
def list_unproven(services: Use, by: Reader) -> UnprovenView:  # noqa: ARG001
    """List the locks of open swaps that were spent in a way that nobody can prove."""
    found = operator_desk.unproven_spends(services.store)
    return UnprovenView(spends=[UnprovenLine(**msgspec.structs.asdict(each)) for each in found])


@router.post(
    "/swaps/{swap_id}/settle", responses=responses(Kind.NOT_FOUND, Kind.WRONG_STATE, Kind.WRONG_PREIMAGE)
)
def settle_spend(swap_id: SwapIdPath, request: SettleRequest, services: Use, by: Settler) -> SwapView:
    """Say how a lock was spent, after you have looked at its chain: what follows moves money. A claim must
    show a preimage that opens the lock; a refund must have been possible; both must be final."""
    stored = operator_desk.settle(
        services.store,
        swap_id,
        LockId(request.lock_id),
        request.verdict,
        preimage_of(request.preimage) if request.preimage is not None else None,
        TxId(request.tx_id),
        by,
        request.note,
    )
    return view_of(services, stored)


@router.get("/chains/{chain}/unread", responses=responses(Kind.NOT_FOUND))
def list_unread(chain: ChainId, services: Use, by: Reader) -> UnreadView:  # noqa: ARG001
    """List what could not be read in a chain's blocks, oldest first."""
    _require_chain(services, chain)
    return UnreadView(
        items=[
            UnreadLine(
                id=item.id,
                chain=item.chain,
                item=item.item,
                height=item.block.height,
                reason=item.reason,
                lock_ids=list(item.lock_ids),
                software=item.software,
                first_seen=Moment.at_ms(item.first_seen_ms),
            )
            for item in operator_desk.unread_items(services.store, chain, UNREAD_SHOWN)
        ]
    )


@router.post("/chains/{chain}/unread/{item}/dismiss", responses=responses(Kind.NOT_FOUND))
def dismiss_unread(
    chain: ChainId, item: ItemPath, request: DismissRequest, services: Use, by: Settler
) -> UnreadView:
    """Say that an item concerns no lock of the bridge's: it is no longer counted or asked about."""
    _require_chain(services, chain)
    operator_desk.dismiss_item(services.store, chain, item, by, request.note)
    return list_unread(chain, services, by)


def _pauses(services: Services) -> PauseView:
    with services.store.reading() as tx:
        names = [switch.name for switch in tx.controls.all()]
    return PauseView(paused=[name.removeprefix("pause:") for name in names if name.startswith("pause:")])


def _known_pair(services: Services, source: str, destination: str) -> str:
    if services.settings.pair(source, destination) is None:
        raise ApiError(
            Kind.UNKNOWN_PAIR, f"{source} → {destination} is not configured", "GET /v1/pairs lists what is"
        )
    return pause_of_pair(source, destination)
