"""Ogmios v6 over the devnet's chain, as much of it as `relayers.cardano.ogmios` and pycardano's context ask
for: a WebSocket with JSON-RPC 2.0. Written from CardanoSolutions/ogmios: docs/content/mini-protocols and the
schemas docs/static/api/v6.14/{ogmios,cardano}.json; the tests hold its answers to the schema."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from kernels.errors import RainbowError
from relayers.cardano.devnet import ogmios_json, parameters
from relayers.cardano.devnet.chain import DevChain
from relayers.cardano.devnet.evaluation import evaluate
from relayers.cardano.devnet.ledger import ScalusLedger, TxRejectedError
from relayers.cardano.devnet.ogmios_json import Json
from relayers.cardano.devnet.raw_body import read_body
from relayers.cardano.devnet.records import DevBlock, TxRecord
from relayers.cardano.settings import NETWORKS, Network

_ERAS = ("shelley", "allegra", "mary", "alonzo", "babbage", "conway")
_POLL_SECONDS = 0.02
_METHOD_NOT_FOUND = -32601


class OgmiosError(RainbowError):
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
            await socket.send_str(msgspec.json.encode(answer).decode())
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
            "queryNetwork/tip": lambda _: ogmios_json.point(self._chain.head),
            "queryNetwork/blockHeight": lambda _: self._chain.head.height or "origin",
            "queryNetwork/startTime": lambda _: ogmios_json.utc(self._chain.zero_time),
            "queryNetwork/genesisConfiguration": self._genesis,
            "queryLedgerState/tip": lambda _: ogmios_json.point(self._chain.head),
            "queryLedgerState/epoch": lambda _: self._chain.head.slot // parameters.EPOCH_SLOTS,
            "queryLedgerState/protocolParameters": lambda _: ogmios_json.protocol_parameters(),
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
                return {
                    "intersection": ogmios_json.point(blocks[height]),
                    "tip": ogmios_json.tip(self._chain.head),
                }
        raise OgmiosError(1000, "No intersection found.", {"tip": ogmios_json.tip(self._chain.head)})

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
                    "point": ogmios_json.point(self._branch[-1]),
                    "tip": ogmios_json.tip(self._chain.head),
                }
            if last + 1 < len(blocks):
                block = blocks[last + 1]
                self._branch = [*self._branch, block]
                return {
                    "direction": "forward",
                    "block": ogmios_json.block_json(block),
                    "tip": ogmios_json.tip(self._chain.head),
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
        return {"transaction": ogmios_json.transaction_json(tx) if whole else {"id": tx.id}}

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
        except TxRejectedError as error:
            raise self._refusal(raw, str(error)) from error

    def _refusal(self, raw: bytes, reason: str) -> OgmiosError:
        """Return the ledger's reason under the code that Ogmios has for it, as far as it can be told."""
        body = read_body(raw)
        known = set(self._chain.utxos) | {ref for tx in self._chain.mempool.values() for ref in tx.makes}
        taken = {ref for tx in self._chain.mempool.values() for ref in tx.spends}
        unknown = [ref for ref in body.inputs if ref not in known - taken]
        if unknown:
            data = {"unknownOutputReferences": [ogmios_json.reference(ref) for ref in unknown]}
            return OgmiosError(3117, f"The transaction contains unknown UTxO references: {reason}", data)
        slot = self._chain.head.slot + 1
        if (body.ttl is not None and slot >= body.ttl) or slot < (body.validity_start or 0):
            when: Json = {"validityInterval": ogmios_json.validity(body), "currentSlot": slot}
            return OgmiosError(3118, f"Outside of the validity interval: {reason}", when)
        return OgmiosError(3997, f"Unexpected mempool error: {reason}", {"error": reason})

    def _evaluate(self, params: Json) -> list[Json]:
        raw = self._read(params)
        try:
            found = evaluate(self._chain, self._ledger, raw)
        except TxRejectedError as error:
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
            read_body(raw)
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
            "startTime": ogmios_json.utc(self._chain.zero_time),
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
            "initialParameters": ogmios_json.protocol_parameters(),
            "initialDelegates": [],
            "initialFunds": {},
            "initialStakePools": {"stakePools": {}, "delegators": {}},
        }
