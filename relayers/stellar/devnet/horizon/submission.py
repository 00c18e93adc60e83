"""Submitting transactions over HTTP, waiting for the ledger or not."""

from __future__ import annotations

import binascii
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from stellar_sdk import xdr

from relayers.stellar.devnet.horizon import resources
from relayers.stellar.devnet.horizon.problems import HorizonProblemError
from relayers.stellar.devnet.node import StellarNode
from relayers.stellar.devnet.queue import Submitted
from relayers.stellar.devnet.results import TxResult

_ASYNC_STATUS = {
    Submitted.PENDING: 201,
    Submitted.DUPLICATE: 409,
    Submitted.TRY_AGAIN_LATER: 503,
    Submitted.ERROR: 400,
}
SUBMISSION_PATIENCE = 30.0
"""Seconds that POST /transactions waits for the transaction's ledger, as Horizon does."""


async def _envelope(request: Request) -> tuple[str, xdr.TransactionEnvelope]:
    form = parse_qs((await request.body()).decode(errors="replace"))
    raw = form.get("tx", [""])[0]
    try:
        return raw, xdr.TransactionEnvelope.from_xdr(raw)
    except (ValueError, EOFError, binascii.Error, TypeError) as error:
        detail = "Horizon could not decode the transaction envelope in this request."
        raise HorizonProblemError(400, "transaction_malformed", detail, {"envelope_xdr": raw}) from error


async def submit(request: Request, node: StellarNode) -> Response:
    """Submit and wait until the transaction is in a ledger."""
    raw, envelope = await _envelope(request)
    known = node.network.header.sequence
    status, frame = node.submit(envelope)
    contents_hash = frame.contents_hash
    applied = node.network.transaction(contents_hash)
    if status is Submitted.ERROR and applied is None:
        raise _failed(raw, contents_hash, frame.result)
    while applied is None:
        if not await node.wait_for_ledger(known, SUBMISSION_PATIENCE):
            detail = (
                "Your transaction submission request has timed out. This does not mean that it has failed."
            )
            extras = {"hash": contents_hash.hex(), "envelope_xdr": raw}
            raise HorizonProblemError(504, "transaction_submission_timeout", detail, extras)
        known = node.network.header.sequence
        applied = node.network.transaction(contents_hash)
    if not applied.result.succeeded:
        raise _failed(raw, contents_hash, applied.result)
    return JSONResponse(resources.transaction(applied, node.network, contents_hash))


async def submit_async(request: Request, node: StellarNode) -> Response:
    """Submit and return at once what the node said."""
    _raw, envelope = await _envelope(request)
    status, frame = node.submit(envelope)
    body = {"tx_status": status.value, "hash": frame.contents_hash.hex()}
    if status is Submitted.ERROR:
        body["error_result_xdr"] = frame.result.to_xdr().to_xdr()
    return JSONResponse(body, _ASYNC_STATUS[status])


def _failed(raw: str, contents_hash: bytes, result: TxResult) -> HorizonProblemError:
    extras = {
        "envelope_xdr": raw,
        "hash": contents_hash.hex(),
        "result_codes": resources.result_codes(result),
        "result_xdr": result.to_xdr().to_xdr(),
    }
    detail = "The transaction failed when submitted to the stellar network."
    return HorizonProblemError(400, "transaction_failed", detail, extras)
