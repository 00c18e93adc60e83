"""The transparency log: heads, proofs, leaves, bundles, witnesses."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from bridge.api.problems import ApiError, Kind, responses
from bridge.api.services import Use
from bridge.chains.errors import PortError
from bridge.proofs.logbook import NoReceiptError, NotAnchoredError
from bridge.proofs.notes import NoteError
from bridge.protocol.types import BlockHeight
from bridge.wire.log import (
    BundleView,
    LogConsistencyView,
    LogHeadView,
    LogLeafList,
    LogLeafView,
    LogProofView,
    LogWitnessView,
)
from bridge.wire.requests import SwapIdPath, WitnessRequest

router = APIRouter(prefix="/v1", tags=["log"])

LEAVES_AT_ONCE = 100
_NEVER_CHANGES = "public, max-age=86400, immutable"
Number = Annotated[int, Query(ge=0, lt=1 << 53)]


@router.get("/log/root")
def log_root(services: Use) -> LogHeadView:
    """Return the newest signed tree head of the log of all outcomes."""
    head = services.log.head()
    return LogHeadView(
        size=head.size, root=head.root.hex(), note=head.note, public_key=services.log.public_key
    )


@router.get("/log/proof", responses=responses(Kind.NOT_FOUND, Kind.INVALID_REQUEST))
def log_proof(index: Number, size: Number, services: Use, response: Response) -> LogProofView:
    """Prove that a leaf is in the tree of a size."""
    try:
        leaf, path = services.log.inclusion(index, size)
    except IndexError as error:
        raise ApiError(Kind.NOT_FOUND, str(error), "ask /v1/log/root how large the log is") from None
    response.headers["Cache-Control"] = _NEVER_CHANGES
    return LogProofView(index=index, size=size, leaf_hash=leaf.hex(), path=[step.hex() for step in path])


@router.get("/log/consistency", responses=responses(Kind.NOT_FOUND, Kind.INVALID_REQUEST))
def log_consistency(first: Number, second: Number, services: Use, response: Response) -> LogConsistencyView:
    """Prove that the tree of size `second` goes on from that of size `first` (at least 1)."""
    try:
        path = services.log.consistency(first, second)
    except IndexError as error:
        raise ApiError(Kind.NOT_FOUND, str(error), "ask /v1/log/root how large the log is") from None
    response.headers["Cache-Control"] = _NEVER_CHANGES
    return LogConsistencyView(first=first, second=second, path=[step.hex() for step in path])


@router.get("/log/leaves", responses=responses(Kind.INVALID_REQUEST))
def log_leaves(
    services: Use,
    response: Response,
    start: Number = 0,
    count: Annotated[int, Query(ge=1, le=LEAVES_AT_ONCE)] = LEAVES_AT_ONCE,
) -> LogLeafList:
    """List leaves in order, fewer than `count` at the end of the log."""
    leaves = services.log.leaves(start, count)
    if len(leaves) == count:
        response.headers["Cache-Control"] = _NEVER_CHANGES
    views = [LogLeafView(index=one.index, leaf_hash=one.hash.hex(), receipt=one.body) for one in leaves]
    return LogLeafList(leaves=views)


@router.post("/log/witness", responses=responses(Kind.INVALID_REQUEST))
def log_witness(request: WitnessRequest, services: Use) -> LogWitnessView:
    """Tell the bridge which of its signed tree heads you saw: one that does not fit raises an alarm."""
    try:
        head, wrong = services.log.witnessed(request.note)
    except NoteError as error:
        raise ApiError(Kind.INVALID_REQUEST, error.message, error.hint) from None
    return LogWitnessView(agrees=not wrong, detail=wrong, size=head.size)


@router.get(
    "/swaps/{swap_id}/proof",
    responses=responses(Kind.NOT_FOUND, Kind.INVALID_REQUEST, Kind.NOT_READY, Kind.CHAIN_UNAVAILABLE),
)
async def swap_proof(
    swap_id: SwapIdPath,
    services: Use,
    since: Annotated[
        int | None,
        Query(ge=0, lt=1 << 32, description="The first header's height, at or below a block you trust."),
    ] = None,
) -> BundleView:
    """Return the proof of a swap's outcome, to be checked offline by anybody."""
    try:
        text = await services.log.bundle(swap_id, None if since is None else BlockHeight(since))
    except NoReceiptError as error:
        raise ApiError(Kind.NOT_FOUND, error.message, error.hint) from None
    except NotAnchoredError as error:
        raise ApiError(Kind.NOT_READY, error.message, error.hint, retry_after=5) from None
    except PortError as error:
        raise ApiError(Kind.CHAIN_UNAVAILABLE, error.message, error.hint, retry_after=5) from None
    return BundleView(bundle=text)
