"""A swap that the bridge lost comes back with the receipt that its user kept."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from bridge.api.auth import OPTIONAL, Owner
from bridge.api.problems import Kind, responses
from bridge.api.services import Use
from bridge.store.repositories.recovery import RestorationState
from bridge.wire.requests import RestoreRequest
from bridge.wire.swaps import RestoreState, RestoreView

router = APIRouter(prefix="/v1/swaps", tags=["swaps"])

_STATES = {
    None: RestoreState.KNOWN,
    RestorationState.DONE: RestoreState.KNOWN,
    RestorationState.READING: RestoreState.READING,
    RestorationState.HELD: RestoreState.HELD,
}


@router.post(
    "/restore",
    openapi_extra=OPTIONAL,
    responses=responses(
        Kind.INVALID_REQUEST, Kind.BAD_RECEIPT, Kind.HASHLOCK_USED, Kind.LIMIT_REACHED, Kind.UNAUTHORIZED
    ),
)
async def restore_swap(request: RestoreRequest, services: Use, owner: Owner) -> RestoreView:
    """Hand in the receipt of a swap that the bridge does not know any more. Repeating it is safe."""
    handed_in = await asyncio.to_thread(
        services.acceptances.hand_in, request.receipt, request.signature, owner
    )
    return RestoreView(id=handed_in.swap_id, state=_STATES[handed_in.state], detail=handed_in.detail)
