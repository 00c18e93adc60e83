"""Ogmios v6 over the devnet's chain, as much of it as `relayers.cardano.ogmios` and pycardano's context ask
for: a WebSocket with JSON-RPC 2.0. Written from CardanoSolutions/ogmios: docs/content/mini-protocols and the
schemas docs/static/api/v6.14/{ogmios,cardano}.json; the tests hold its answers to the schema."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from aiohttp import WSMsgType, web
from pycardano import Transaction, TransactionOutput

from relayers.cardano.devnet import parameters
from relayers.cardano.devnet.chain import DevChain
from relayers.cardano.devnet.evaluation import evaluate
from relayers.cardano.devnet.ledger import Rejected, ScalusLedger
from relayers.cardano.devnet.records import DevBlock, OutRef, TxRecord, ref_of
from relayers.cardano.settings import NETWORKS, Network

Json = dict[str, Any]

_ERAS = ("shelley", "allegra", "mary", "alonzo", "babbage", "conway")
_POLL_SECONDS = 0.02
_KEY, _SIGNATURE = "00" * 32, "00" * 64
_METHOD_NOT_FOUND = -32601


class OgmiosError(Exception):
    """An error answer of the protocol."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.body: Json = {"code": code, "message": message}
        if data is not None:
            self.body["data"] = data


class OgmiosServer:
    """Makes one conversation for each connection."""

    def __init__(self, chain: DevChain, ledger: ScalusLedger) -> None:
        self._chain = chain
        self._ledger = ledger

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Answer requests, one after the other, until the client goes."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        conversation = _Conversation(self._chain, self._ledger)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            call = json.loads(message.data)
            answer: Json = {"jsonrpc": "2.0", "method": call.get("method"), "id": call.get("id")}
            try:
                answer["result"] = await conversation.answer(call["method"], call.get("params") or {})
            except OgmiosError as error:
                answer["error"] = error.body
            await socket.send_json(answer)
        return socket


class _Conversation:
    """What the server remembers of one connection: the chain-sync cursor and the mempool snapshot.

    The cursor is the branch as the client knows it: the blocks up to the one it was sent last.
    """

    def __init__(self, chain: DevChain, ledger: ScalusLedger) -> None:
        self._chain = chain
        self._ledger = ledger
        self._branch: list[DevBlock] = chain.blocks[:1]
        self._moved = True
        self._snapshot: list[TxRecord] | None = None
        self._unread: list[TxRecord] = []

    async def answer(self, method: str, params: Json) -> Any:
        handlers: dict[str, Callable[[Json], Any]] = {
            "findIntersection": self._find_intersection,
            "queryNetwork/tip": lambda _: _point(self._chain.head),
            "queryNetwork/blockHeight": lambda _: self._chain.head.height or "origin",
            "queryNetwork/startTime": lambda _: _utc(self._chain.zero_time),
            "queryNetwork/genesisConfiguration": self._genesis,
            "queryLedgerState/tip": lambda _: _point(self._chain.head),
            "queryLedgerState/epoch": lambda _: self._chain.head.slot // parameters.EPOCH_SLOTS,
            "queryLedgerState/protocolParameters": lambda _: protocol_parameters(),
            "nextTransaction": self._next_transaction,
            "hasTransaction": lambda wish: wish["id"] in {tx.id for tx in self._acquired()},
            "sizeOfMempool": self._size_of_mempool,
            "releaseMempool": self._release_mempool,
            "submitTransaction": self._submit,
            "evaluateTransaction": self._evaluate,
        }
        blocking: dict[str, Callable[[], Awaitable[Any]]] = {
            "nextBlock": self._next_block,
            "acquireMempool": self._acquire_mempool,
        }
        if method in blocking:
            return await blocking[method]()
        if method not in handlers:
            raise OgmiosError(_METHOD_NOT_FOUND, f"unknown method {method}")
        return handlers[method](params)

    # ------------------------------------------------------------------ chain synchronisation

    def _find_intersection(self, params: Json) -> Json:
        blocks = self._chain.blocks
        for point in params["points"]:
            height = 0 if point == "origin" else self._height_of(point)
            if height is not None:
                self._branch = blocks[: height + 1]
                self._moved = True
                return {"intersection": _point(blocks[height]), "tip": _tip(self._chain.head)}
        raise OgmiosError(1000, "No intersection found.", {"tip": _tip(self._chain.head)})

    def _height_of(self, point: Json) -> int | None:
        for block in reversed(self._chain.blocks[1:]):
            if (block.slot, block.id) == (point["slot"], point["id"]):
                return block.height
        return None

    async def _next_block(self) -> Json:
        """Tell of a roll-back first (there is always one after an intersection), then wait for a block."""
        blocks = self._chain.blocks
        while True:
            last = len(self._branch) - 1
            while last >= len(blocks) or blocks[last].id != self._branch[last].id:
                last -= 1
            if self._moved or last < len(self._branch) - 1:
                self._branch, self._moved = self._branch[: last + 1], False
                return {
                    "direction": "backward",
                    "point": _point(self._branch[-1]),
                    "tip": _tip(self._chain.head),
                }
            if last + 1 < len(blocks):
                block = blocks[last + 1]
                self._branch = [*self._branch, block]
                return {
                    "direction": "forward",
                    "block": _block(block),
                    "tip": _tip(self._chain.head),
                }
            await asyncio.sleep(_POLL_SECONDS)

    # ------------------------------------------------------------------ mempool

    async def _acquire_mempool(self) -> Json:
        """Block until there is another snapshot than the one that is held."""
        while self._snapshot is not None and self._snapshot == list(self._chain.mempool.values()):
            await asyncio.sleep(_POLL_SECONDS)
        self._snapshot = list(self._chain.mempool.values())
        self._unread = list(self._snapshot)
        return {"acquired": "mempool", "slot": self._chain.head.slot}

    def _acquired(self) -> list[TxRecord]:
        if self._snapshot is None:
            raise OgmiosError(4000, "You must acquire a mempool snapshot prior to accessing it.")
        return self._snapshot

    def _next_transaction(self, params: Json) -> Json:
        self._acquired()
        if not self._unread:
            return {"transaction": None}
        tx = self._unread.pop(0)
        whole = params.get("fields") == "all"
        return {"transaction": _transaction(tx) if whole else {"id": tx.id}}

    def _size_of_mempool(self, _: Json) -> Json:
        snapshot = self._acquired()
        return {
            "maxCapacity": {"bytes": 178_176},
            "currentSize": {"bytes": sum(len(tx.raw) for tx in snapshot)},
            "transactions": {"count": len(snapshot)},
        }

    def _release_mempool(self, _: Json) -> Json:
        self._acquired()
        self._snapshot = None
        return {"released": "mempool"}

    # ------------------------------------------------------------------ transactions

    def _submit(self, params: Json) -> Json:
        raw = self._read(params)
        try:
            return {"transaction": {"id": self._chain.submit(raw).id}}
        except Rejected as error:
            raise self._refusal(raw, str(error)) from error

    def _refusal(self, raw: bytes, reason: str) -> OgmiosError:
        """Return the ledger's reason under the code that Ogmios has for it, as far as it can be told."""
        body = Transaction.from_cbor(raw).transaction_body
        known = set(self._chain.utxos) | {ref for tx in self._chain.mempool.values() for ref in tx.makes}
        taken = {ref for tx in self._chain.mempool.values() for ref in tx.spends}
        unknown = [ref for ref in map(ref_of, body.inputs) if ref not in known - taken]
        if unknown:
            data = {"unknownOutputReferences": [_reference(ref) for ref in unknown]}
            return OgmiosError(3117, f"The transaction contains unknown UTxO references: {reason}", data)
        slot = self._chain.head.slot + 1
        if (body.ttl is not None and slot >= body.ttl) or slot < (body.validity_start or 0):
            when: Json = {"validityInterval": _validity(body), "currentSlot": slot}
            return OgmiosError(3118, f"Outside of the validity interval: {reason}", when)
        return OgmiosError(3997, f"Unexpected mempool error: {reason}", {"error": reason})

    def _evaluate(self, params: Json) -> list[Json]:
        raw = self._read(params)
        try:
            found = evaluate(self._chain, self._ledger, raw)
        except Rejected as error:
            failure = {"validationError": str(error), "traces": []}
            data = [
                {
                    "validator": {"purpose": "spend", "index": 0},
                    "error": {"code": 3012, "message": "The script failed.", "data": failure},
                }
            ]
            raise OgmiosError(3010, "Some scripts of the transaction failed.", data) from error
        listed = []
        for name, units in found.items():
            purpose, _, index = name.partition(":")
            budget = {"memory": units["memory"], "cpu": units["steps"]}
            listed.append({"validator": {"purpose": purpose, "index": int(index)}, "budget": budget})
        return listed

    def _read(self, params: Json) -> bytes:
        try:
            raw = bytes.fromhex(params["transaction"]["cbor"])
            Transaction.from_cbor(raw)
        except Exception as error:
            data = dict.fromkeys(_ERAS, str(error)[:100])
            raise OgmiosError(-32602, "Invalid transaction: it cannot be deserialised.", data) from error
        return raw

    def _genesis(self, params: Json) -> Json:
        if params["era"] != "shelley":
            raise OgmiosError(2004, "The devnet has only a Shelley genesis.")
        about = parameters.genesis(self._chain.zero_time, NETWORKS[Network.DEV].magic)
        return {
            "era": "shelley",
            "startTime": _utc(self._chain.zero_time),
            "networkMagic": about["network_magic"],
            "network": "testnet",
            "activeSlotsCoefficient": "1/20",
            "securityParameter": about["security_param"],
            "epochLength": about["epoch_length"],
            "slotsPerKesPeriod": about["slots_per_kes_period"],
            "maxKesEvolutions": about["max_kes_evolutions"],
            "slotLength": {"milliseconds": 1000 * about["slot_length"]},
            "updateQuorum": about["update_quorum"],
            "maxLovelaceSupply": int(about["max_lovelace_supply"]),
            "initialParameters": protocol_parameters(),
            "initialDelegates": [],
            "initialFunds": {},
            "initialStakePools": {"stakePools": {}, "delegators": {}},
        }


def protocol_parameters() -> Json:
    """Return the devnet's protocol parameters in Ogmios' form."""
    raw = parameters.protocol_parameters(0)

    def lovelace(name: str) -> Json:
        return {"ada": {"lovelace": int(raw[name])}}

    def ratio(name: str) -> str:
        value = Fraction(str(raw[name]))
        return f"{value.numerator}/{value.denominator}"

    def size(name: str) -> Json:
        return {"bytes": int(raw[name])}

    return {
        "minFeeCoefficient": raw["min_fee_a"],
        "minFeeConstant": {"ada": {"lovelace": raw["min_fee_b"]}},
        "minFeeReferenceScripts": {
            "range": 25_600,
            "base": raw["min_fee_ref_script_cost_per_byte"],
            "multiplier": 1.2,
        },
        "minUtxoDepositCoefficient": int(raw["coins_per_utxo_size"]),
        "minUtxoDepositConstant": {"ada": {"lovelace": 0}},
        "maxBlockBodySize": size("max_block_size"),
        "maxBlockHeaderSize": size("max_block_header_size"),
        "maxTransactionSize": size("max_tx_size"),
        "maxValueSize": size("max_val_size"),
        "maxReferenceScriptsSize": {"bytes": 204_800},
        "stakeCredentialDeposit": lovelace("key_deposit"),
        "stakePoolDeposit": lovelace("pool_deposit"),
        "stakePoolRetirementEpochBound": raw["e_max"],
        "stakePoolPledgeInfluence": ratio("a0"),
        "minStakePoolCost": lovelace("min_pool_cost"),
        "desiredNumberOfStakePools": raw["n_opt"],
        "monetaryExpansion": ratio("rho"),
        "treasuryExpansion": ratio("tau"),
        "collateralPercentage": raw["collateral_percent"],
        "maxCollateralInputs": raw["max_collateral_inputs"],
        "plutusCostModels": {f"plutus:v{name[-1]}": costs for name, costs in raw["cost_models_raw"].items()},
        "scriptExecutionPrices": {"memory": ratio("price_mem"), "cpu": ratio("price_step")},
        "maxExecutionUnitsPerTransaction": {
            "memory": int(raw["max_tx_ex_mem"]),
            "cpu": int(raw["max_tx_ex_steps"]),
        },
        "maxExecutionUnitsPerBlock": {
            "memory": int(raw["max_block_ex_mem"]),
            "cpu": int(raw["max_block_ex_steps"]),
        },
        "version": {"major": raw["protocol_major_ver"], "minor": raw["protocol_minor_ver"]},
    }


def _utc(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _point(block: DevBlock) -> Json | str:
    return {"slot": block.slot, "id": block.id} if block.height else "origin"


def _tip(block: DevBlock) -> Json | str:
    return {"slot": block.slot, "id": block.id, "height": block.height} if block.height else "origin"


def _reference(ref: OutRef) -> Json:
    return {"transaction": {"id": ref[0]}, "index": ref[1]}


def _validity(body: Any) -> Json:
    bounds = {"invalidBefore": body.validity_start, "invalidAfter": body.ttl}
    return {name: slot for name, slot in bounds.items() if slot is not None}


def _block(block: DevBlock) -> Json:
    return {
        "type": "praos",
        "era": "conway",
        "id": block.id,
        "ancestor": block.parent if block.height > 1 else "genesis",
        "height": block.height,
        "slot": block.slot,
        "size": {"bytes": sum(len(tx.raw) for tx in block.txs)},
        "transactions": [_transaction(tx) for tx in block.txs],
        "protocol": {"version": {"major": 10, "minor": 0}},
        "issuer": {
            "verificationKey": _KEY,
            "vrfVerificationKey": _KEY,
            "operationalCertificate": {"count": 0, "kes": {"period": 0, "verificationKey": _KEY}},
            "leaderValue": {"proof": "00", "output": "00"},
        },
    }


def _transaction(tx: TxRecord) -> Json:
    body = tx.tx.transaction_body
    found: Json = {
        "id": tx.id,
        "spends": "inputs" if tx.valid else "collaterals",
        "inputs": [_reference(ref) for ref in tx.inputs],
        "outputs": [_output(output) for output in body.outputs],
        "fee": {"ada": {"lovelace": body.fee}},
        "validityInterval": _validity(body),
        "signatories": [
            {"key": witness.vkey.payload.hex(), "signature": witness.signature.hex()}
            for witness in tx.tx.transaction_witness_set.vkey_witnesses or ()
        ],
    }
    if tx.references:
        found["references"] = [_reference(ref) for ref in tx.references]
    if tx.collateral:
        found["collaterals"] = [_reference(ref) for ref in tx.collateral]
    if body.total_collateral is not None:
        found["totalCollateral"] = {"ada": {"lovelace": body.total_collateral}}
    if body.collateral_return is not None:
        found["collateralReturn"] = _output(body.collateral_return)
    if tx.redeemers:
        found["redeemers"] = [
            {
                "redeemer": redeemer.data.hex(),
                "executionUnits": {"memory": redeemer.memory, "cpu": redeemer.steps},
                "validator": {"purpose": redeemer.tag, "index": redeemer.index},
            }
            for redeemer in tx.redeemers
        ]
    return found


def _output(output: TransactionOutput) -> Json:
    value: Json = {"ada": {"lovelace": output.amount.coin}}
    for policy, assets in (output.amount.multi_asset or {}).items():
        value[policy.payload.hex()] = {name.payload.hex(): amount for name, amount in assets.items()}
    found: Json = {"address": str(output.address.encode()), "value": value}
    if output.datum is not None:
        found["datum"] = output.datum.to_cbor().hex()
    elif output.datum_hash is not None:
        found["datumHash"] = output.datum_hash.payload.hex()
    if output.script is not None:
        found["script"] = {"language": "plutus:v3", "cbor": bytes(output.script).hex()}
    return found
