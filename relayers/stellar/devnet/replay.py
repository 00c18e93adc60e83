"""Replays recordings of a real stellar-core and tells where the emulator differs.

A recording is JSON lines: `{"op": "tx", "envelope", "status", "error"?}` for a submission and what the node
said to it, `{"op": "close", "ledger", "closeTime", "results": [{"hash", "result"}]}` for a closed ledger and
the results of its transactions in the order of application (XDR in base64).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from stellar_sdk import xdr

from relayers.stellar.devnet.fee_bump import Frame
from relayers.stellar.devnet.network import ClosedLedger, StandaloneNetwork
from relayers.stellar.devnet.queue import Submitted


def replay(lines: Iterable[str]) -> Iterator[str]:
    """Replay a recording and yield a line for each difference."""
    network = StandaloneNetwork()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        step = json.loads(line)
        if step["op"] == "tx":
            differences = _submit(network, step)
        elif step["op"] == "close":
            differences = _close(network, step)
        else:
            raise ValueError(f"line {number}: unknown op {step['op']!r}, expected tx or close")
        for difference in differences:
            yield f"line {number}: {difference}"


def _submit(network: StandaloneNetwork, step: dict[str, Any]) -> Iterator[str]:
    envelope = xdr.TransactionEnvelope.from_xdr(step["envelope"])
    status, frame = network.submit(envelope)
    expected = codes_of(xdr.TransactionResult.from_xdr(step["error"])) if step.get("error") else ""
    actual = codes_of(frame.result.to_xdr()) if status is Submitted.ERROR else ""
    if (status.value, actual) != (step["status"], expected):
        wanted = f"{step['status']} {expected}".strip()
        yield f"tx {frame.contents_hash.hex()}: expected {wanted}, got {f'{status.value} {actual}'.strip()}"


def _close(network: StandaloneNetwork, step: dict[str, Any]) -> Iterator[str]:
    expected = {}
    for entry in step["results"]:
        pair = xdr.TransactionResultPair.from_xdr(entry["result"])
        expected[pair.transaction_hash.hash] = codes_of(pair.result)
    ledger = network.close(step["closeTime"], order=list(expected))
    if ledger.header.sequence != step["ledger"]:
        yield f"expected ledger {step['ledger']}, got {ledger.header.sequence}"
    actual = {each.frame.contents_hash: codes_of(each.result.to_xdr()) for each in ledger.transactions}
    for contents_hash in expected | actual:
        wanted, got = expected.get(contents_hash, "absent"), actual.get(contents_hash, "absent")
        if wanted != got:
            yield f"ledger {step['ledger']}, tx {contents_hash.hex()}: expected {wanted}, got {got}"


def tx_step(envelope: xdr.TransactionEnvelope, status: Submitted, frame: Frame) -> dict[str, Any]:
    """Return the record of a submission."""
    step: dict[str, Any] = {"op": "tx", "envelope": envelope.to_xdr(), "status": status.value}
    if status is Submitted.ERROR:
        step["error"] = frame.result.to_xdr().to_xdr()
    return step


def close_step(ledger: ClosedLedger) -> dict[str, Any]:
    """Return the record of a closed ledger."""
    results = []
    for applied in ledger.transactions:
        contents_hash = applied.frame.contents_hash
        pair = xdr.TransactionResultPair(xdr.Hash(contents_hash), applied.result.to_xdr())
        results.append({"hash": contents_hash.hex(), "result": pair.to_xdr()})
    header = ledger.header
    return {"op": "close", "ledger": header.sequence, "closeTime": header.close_time, "results": results}


def codes_of(result: xdr.TransactionResult) -> str:
    """Return a result in words: fee charged, codes, and what successful operations report."""
    body = result.result
    if body.inner_result_pair is not None:
        inner = body.inner_result_pair
        inside = _body(inner.result.result, inner.result.fee_charged.int64)
        name = inner.transaction_hash.hash.hex()[:8]
        return f"{body.code.name} fee={result.fee_charged.int64} [{name} {inside}]"
    return _body(body, result.fee_charged.int64)


def _body(body: xdr.TransactionResultResult | xdr.InnerTransactionResultResult, fee: int) -> str:
    operations = ", ".join(_operation(each) for each in body.results or [])
    return f"{body.code.name} fee={fee}" + (f" ({operations})" if operations else "")


def _operation(result: xdr.OperationResult) -> str:
    if result.tr is None:
        return result.code.name
    arm = next(value for name, value in vars(result.tr).items() if name != "type" and value is not None)
    details = [value for name, value in vars(arm).items() if name != "code" and value is not None]
    shown = "".join(f" {_detail(each)}" for each in details)
    return f"{arm.code.name}{shown}"


def _detail(value: Any) -> str:
    return value.to_xdr() if hasattr(value, "to_xdr") else repr(value)
