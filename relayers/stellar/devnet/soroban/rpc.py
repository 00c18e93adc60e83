"""The Stellar RPC methods of the devnet (JSON-RPC 2.0, stellar-rpc 27): POST /rpc.

Names and shapes are those of the stellar-rpc reference; numbers of 64 bits are strings.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from stellar_sdk import xdr

from relayers.stellar.devnet.entries import ContractEntry, UnsupportedFeatureError, account_key, data
from relayers.stellar.devnet.node import StellarNode
from relayers.stellar.devnet.queue import Submitted
from relayers.stellar.devnet.soroban.ledger_xdr import entry_xdr
from relayers.stellar.devnet.soroban.rpc_history import INVALID_PARAMS, History, RpcError
from relayers.stellar.devnet.soroban.simulation import SimulationError, simulate
from relayers.stellar.devnet.soroban.storage import entry_at

Json = dict[str, Any]
MAX_KEYS = 200
_INVALID_REQUEST, _NO_METHOD = -32600, -32601
_FEE_PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)


class RpcServer:
    """Answers JSON-RPC requests about one node."""

    def __init__(self, node: StellarNode) -> None:
        self.node = node
        self._history = History(node)
        self._methods: dict[str, Callable[[Json], Json]] = {
            "getHealth": self._health,
            "getNetwork": self._network,
            "getVersionInfo": self._version,
            "getLatestLedger": self._latest,
            "getFeeStats": self._fees,
            "getLedgerEntries": self._entries,
            "simulateTransaction": self._simulate,
            "sendTransaction": self._send,
            "getTransaction": self._history.transaction,
            "getTransactions": self._history.transactions,
            "getLedgers": self._history.ledgers,
            "getEvents": self._history.events,
        }

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        number: object = None
        try:
            body = json.loads(await request.body())
            if not isinstance(body, dict) or not isinstance(body.get("method"), str):
                raise RpcError(_INVALID_REQUEST, "not a JSON-RPC request")
            number = body.get("id")
            method = self._methods.get(body["method"])
            if method is None:
                raise RpcError(_NO_METHOD, f"method not found: {body['method']}")
            params = body.get("params") or {}
            if not isinstance(params, dict):
                raise RpcError(INVALID_PARAMS, "params must be an object")
            answer: Json = {"result": method(params)}
        except RpcError as error:
            answer = {"error": {"code": error.code, "message": str(error)}}
        except UnsupportedFeatureError as error:
            answer = {"error": {"code": INVALID_PARAMS, "message": f"the devnet cannot do this: {error}"}}
        except ValueError:
            answer = {"error": {"code": -32700, "message": "parse error"}}
        return JSONResponse({"jsonrpc": "2.0", "id": number} | answer)

    # Network

    def _health(self, _: Json) -> Json:
        return {
            "status": "healthy",
            "latestLedger": self.node.network.header.sequence,
            "oldestLedger": self._history.oldest,
            "ledgerRetentionWindow": self.node.rpc_retention,
        }

    def _network(self, _: Json) -> Json:
        network = self.node.network
        return {"passphrase": network.passphrase, "protocolVersion": network.settings.protocol}

    def _version(self, _: Json) -> Json:
        return {
            "version": "devnet",
            "commitHash": "",
            "buildTimestamp": "",
            "captiveCoreVersion": "devnet",
            "protocolVersion": self.node.network.settings.protocol,
        }

    def _latest(self, _: Json) -> Json:
        newest = self._history.ledger_json(self.node.network.ledgers[-1])
        return {
            "id": newest["hash"],
            "protocolVersion": self.node.network.settings.protocol,
            "sequence": newest["sequence"],
            "closeTime": newest["ledgerCloseTime"],
            "headerXdr": xdr.LedgerHeaderHistoryEntry.from_xdr(newest["headerXdr"]).header.to_xdr(),
            "metadataXdr": newest["metadataXdr"],
        }

    def _fees(self, _: Json) -> Json:
        recent = self.node.network.ledgers[-50:]
        base = self.node.network.header.base_fee
        paid: dict[bool, list[int]] = {True: [], False: []}
        for ledger in recent:
            for applied in ledger.transactions:
                frame = applied.frame
                spent = frame.result.fee_charged + frame.refunded - frame.resource_fee
                paid[frame.soroban is not None].append(max(0, spent) // frame.operation_count)
        return {
            "sorobanInclusionFee": _distribution(paid[True], base, len(recent)),
            "inclusionFee": _distribution(paid[False], base, len(recent)),
            "latestLedger": self.node.network.header.sequence,
        }

    # State

    def _entries(self, params: Json) -> Json:
        keys = params.get("keys")
        if not isinstance(keys, list) or len(keys) > MAX_KEYS:
            raise RpcError(INVALID_PARAMS, f"key count must be at most {MAX_KEYS}")
        found = []
        for raw in keys:
            key = _decode(xdr.LedgerKey, raw, "key")
            entry = entry_at(self.node.network.state, key)
            if key.data is not None:
                place = data(account_key(key.data.account_id), key.data.data_name.string64)
                entry = self.node.network.state.peek(place)
            if entry is None:
                continue
            shown: Json = {
                "key": raw,
                "xdr": entry_xdr(entry).data.to_xdr(),
                "lastModifiedLedgerSeq": entry.last_modified,
                "extXdr": entry_xdr(entry).ext.to_xdr(),
            }
            if isinstance(entry, ContractEntry):
                shown["liveUntilLedgerSeq"] = entry.live_until
            found.append(shown)
        return {"entries": found, "latestLedger": self.node.network.header.sequence}

    def _simulate(self, params: Json) -> Json:
        network = self.node.network
        latest = {"latestLedger": network.header.sequence}
        envelope = _decode(xdr.TransactionEnvelope, params.get("transaction"), "transaction")
        config = params.get("resourceConfig") or {}
        try:
            simulated = simulate(
                network.state,
                max(self.node.now, network.header.close_time),
                network.network_id,
                network.settings,
                envelope,
                auth_mode=params.get("authMode"),
                extra_instructions=int(config.get("instructionLeeway", 0)),
                upgraded_auth=params.get("useUpgradedAuth", True),
            )
        except SimulationError as error:
            return latest | {"error": str(error)}
        outcome = simulated.outcome
        if outcome.error is not None:
            return latest | {"error": str(outcome.error), "events": []}
        answer: Json = {
            "transactionData": simulated.data.to_xdr(),
            "minResourceFee": str(simulated.min_resource_fee),
            "events": [],
        }
        if outcome.value is not None:
            auth = [each.to_xdr() for each in outcome.auth]
            answer["results"] = [{"auth": auth, "xdr": outcome.value.to_xdr()}]
        return latest | answer

    # Sending

    def _send(self, params: Json) -> Json:
        envelope = _decode(xdr.TransactionEnvelope, params.get("transaction"), "transaction")
        status, frame = self.node.submit(envelope)
        header = self.node.network.header
        answer: Json = {
            "status": status.value,
            "hash": frame.contents_hash.hex(),
            "latestLedger": header.sequence,
            "latestLedgerCloseTime": str(header.close_time),
        }
        if status is Submitted.ERROR:
            answer["errorResultXdr"] = frame.result.to_xdr().to_xdr()
        return answer


def _decode(kind: Any, raw: object, what: str) -> Any:
    try:
        if not isinstance(raw, str):
            raise ValueError(what)
        return kind.from_xdr(raw)
    except (ValueError, EOFError, TypeError, binascii.Error) as error:
        raise RpcError(INVALID_PARAMS, f"cannot unmarshal {what}") from error


def _distribution(fees: list[int], base: int, ledgers: int) -> Json:
    ordered = sorted(fees) or [base]
    shown: Json = {"max": str(ordered[-1]), "min": str(ordered[0])}
    shown["mode"] = str(max(set(ordered), key=ordered.count))
    for percent in _FEE_PERCENTILES:
        shown[f"p{percent}"] = str(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)])
    return shown | {"transactionCount": str(len(fees)), "ledgerCount": ledgers}
