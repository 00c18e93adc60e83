"""A Blockfrost-compatible server over the devnet's chain: what BlockFrostChainContext and the official client
ask for; Ogmios and Kupo beside it, and /dev for the test's control. A process of its own:
`python -m relayers.cardano.devnet.server`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from pycardano import Address, PlutusV1Script, PlutusV2Script, PlutusV3Script

from relayers.cardano.devnet import parameters, treasury
from relayers.cardano.devnet.blockfrost_http import BlockfrostError, errors, not_found, paged, paging, reader
from relayers.cardano.devnet.chain import DevChain, UnknownHeightError
from relayers.cardano.devnet.evaluation import evaluate
from relayers.cardano.devnet.kupo_server import KupoServer
from relayers.cardano.devnet.ledger import ScalusLedger, TxRejectedError
from relayers.cardano.devnet.ogmios_server import OgmiosServer
from relayers.cardano.devnet.raw_body import read_body
from relayers.cardano.devnet.views import Views
from relayers.cardano.settings import NETWORKS, Network

_LAST_HEIGHT = 10**9
"""Above every block: the end of an open range."""


class BlockfrostServer:
    """The routes. Every handler is synchronous at heart, so the chain is never seen half-changed."""

    def __init__(self, chain: DevChain, ledger: ScalusLedger) -> None:
        self._chain = chain
        self._ledger = ledger
        self._views = Views(chain)

    def app(self) -> web.Application:
        """Return the application; Blockfrost's paths begin with /api/v0, clients may also use /v0."""
        app = web.Application(middlewares=[errors], client_max_size=2**20)
        for prefix in ("/api/v0", "/v0"):
            for path, answer in self._reading().items():
                app.router.add_get(prefix + path, reader(answer))
            app.router.add_post(prefix + "/tx/submit", self._submit)
            app.router.add_post(prefix + "/utils/txs/evaluate", self._evaluate)
        app.router.add_get("/ogmios", OgmiosServer(self._chain, self._ledger).serve)
        KupoServer(self._chain).add_to(app, "/kupo")
        app.router.add_post("/dev/{command}", self._control)
        return app

    def _reading(self) -> dict[str, Callable[[web.Request], Any]]:
        views, chain = self._views, self._chain
        return {
            "/": lambda _: {"url": "https://blockfrost.io/", "version": "0.1.0"},
            "/health": lambda _: {"is_healthy": True},
            "/health/clock": lambda _: {"server_time": chain.time_of(chain.head.slot) * 1000},
            "/genesis": lambda _: parameters.genesis(chain.zero_time, NETWORKS[Network.DEV].magic),
            "/epochs/latest": lambda _: views.epoch(),
            "/epochs/latest/parameters": lambda _: parameters.protocol_parameters(0),
            "/epochs/{number}/parameters": lambda _: parameters.protocol_parameters(0),
            "/blocks/{name}": lambda r: views.block(self._block(r)),
            "/blocks/{name}/next": self._next_blocks,
            "/blocks/{name}/previous": self._previous_blocks,
            "/blocks/{name}/txs": lambda r: paged(r, [tx.id for tx in self._block(r).txs]),
            "/blocks/{name}/txs/cbor": lambda r: paged(
                r, [{"tx_hash": tx.id, "cbor": tx.raw.hex()} for tx in self._block(r).txs]
            ),
            "/txs/{id}": lambda r: views.tx(self._tx(r)),
            "/txs/{id}/utxos": lambda r: views.tx_utxos(self._tx(r)),
            "/txs/{id}/cbor": lambda r: {"cbor": self._tx(r).raw.hex()},
            "/txs/{id}/redeemers": lambda r: views.redeemers(self._tx(r)),
            "/addresses/{place}": self._address,
            "/addresses/{place}/utxos": self._utxos,
            "/addresses/{place}/utxos/{unit}": self._utxos,
            "/addresses/{place}/transactions": self._transactions,
            "/scripts/datum/{digest}": self._datum,
            "/scripts/datum/{digest}/cbor": lambda r: {"cbor": self._raw_datum(r).hex()},
            "/scripts/{digest}": self._script,
            "/scripts/{digest}/cbor": lambda r: {"cbor": bytes(self._reference(r)).hex()},
            "/scripts/{digest}/redeemers": lambda r: paged(r, self._script_redeemers(r)),
            "/assets/{unit}": self._token,
            "/mempool": lambda r: paged(r, [{"tx_hash": tx_id} for tx_id in chain.mempool]),
            "/mempool/addresses/{place}": lambda r: paged(
                r, [{"tx_hash": tx_id} for tx_id in views.mempool_of(r.match_info["place"])]
            ),
            "/mempool/{id}": self._waiting,
        }

    # ------------------------------------------------------------------ reading

    def _block(self, request: web.Request) -> Any:
        block = self._views.find_block(request.match_info["name"])
        if block is None:
            raise not_found()
        return block

    def _next_blocks(self, request: web.Request) -> Any:
        height = self._block(request).height
        return paged(request, [self._views.block(block) for block in self._chain.blocks[height + 1 :]])

    def _previous_blocks(self, request: web.Request) -> Any:
        count, page = paging(request)
        last = self._block(request).height - (page - 1) * count
        chosen = self._chain.blocks[max(0, last - count) : max(0, last)]
        return [self._views.block(block) for block in chosen]

    def _tx(self, request: web.Request) -> Any:
        tx = self._views.find_tx(request.match_info["id"])
        if tx is None:
            raise not_found()
        return tx

    def _token(self, request: web.Request) -> Any:
        found = self._views.token(request.match_info["unit"])
        if found is None:
            raise not_found()
        return found

    def _place(self, request: web.Request) -> str:
        place = request.match_info["place"]
        if not place.startswith(("addr_vkh1", "script1")):
            try:
                Address.from_primitive(place)
            except Exception as error:
                raise BlockfrostError(
                    400, "Bad Request", "Invalid address for this network or malformed address format."
                ) from error
        if not self._views.knows(place):
            raise not_found()
        return place

    def _address(self, request: web.Request) -> Any:
        place = self._place(request)
        totals: dict[str, int] = {"lovelace": 0}
        for utxo in self._views.utxos(place):
            for amount in utxo["amount"]:
                totals[amount["unit"]] = totals.get(amount["unit"], 0) + int(amount["quantity"])
        listed = [{"unit": unit, "quantity": str(total)} for unit, total in totals.items()]
        is_script = place.startswith("script1") or Address.from_primitive(place).address_type.value in {1, 7}
        return {
            "address": place,
            "amount": listed,
            "stake_address": None,
            "type": "shelley",
            "script": is_script,
        }

    def _utxos(self, request: web.Request) -> Any:
        place = self._place(request)
        return paged(request, self._views.utxos(place, request.match_info.get("unit", "")))

    def _transactions(self, request: web.Request) -> Any:
        place = self._place(request)
        first = int(request.query.get("from", "0").partition(":")[0])
        last = int(request.query.get("to", str(_LAST_HEIGHT)).partition(":")[0])
        return paged(request, self._views.address_transactions(place, first, last))

    def _raw_datum(self, request: web.Request) -> bytes:
        raw = self._views.datum(request.match_info["digest"])
        if raw is None:
            raise not_found()
        return raw

    def _datum(self, request: web.Request) -> Any:
        return {"json_value": {"bytes": self._raw_datum(request).hex()}}

    def _reference(self, request: web.Request) -> Any:
        script = self._views.script(request.match_info["digest"])
        if script is None:
            raise not_found()
        return script

    def _script(self, request: web.Request) -> Any:
        script = self._reference(request)
        versions = ((PlutusV1Script, "plutusV1"), (PlutusV2Script, "plutusV2"), (PlutusV3Script, "plutusV3"))
        kind = next((name for version, name in versions if isinstance(script, version)), "timelock")
        digest = request.match_info["digest"]
        return {"script_hash": digest, "type": kind, "serialised_size": len(bytes(script))}

    def _script_redeemers(self, request: web.Request) -> list[Any]:
        digest = request.match_info["digest"]
        found = []
        for block in self._chain.blocks:
            for tx in block.txs:
                for redeemer in self._views.redeemers(tx):
                    if redeemer["script_hash"] == digest:
                        found.append({"tx_hash": tx.id, **redeemer})
        return found

    def _waiting(self, request: web.Request) -> Any:
        tx = self._chain.mempool.get(request.match_info["id"])
        if tx is None:
            raise not_found()
        return self._views.mempool_tx(tx)

    # ------------------------------------------------------------------ changing

    async def _submit(self, request: web.Request) -> web.Response:
        raw = await request.read()
        try:
            tx = self._chain.submit(raw)
        except TxRejectedError as error:
            message = f'"transaction submit error: {error}"'
            raise BlockfrostError(400, "Bad Request", message) from error
        return web.json_response(tx.id)

    async def _evaluate(self, request: web.Request) -> web.Response:
        body = (await request.text()).strip()
        try:
            raw = bytes.fromhex(body)
            read_body(raw)
        except Exception as error:
            raise BlockfrostError(400, "Bad Request", "The transaction cannot be decoded.") from error
        result: dict[str, Any]
        try:
            result = {"EvaluationResult": evaluate(self._chain, self._ledger, raw)}
        except TxRejectedError as error:
            result = {"EvaluationFailure": {"ScriptFailures": {"reason": [str(error)]}}}
        answer = {"type": "jsonwsp/response", "version": "1.0", "servicename": "ogmios", "result": result}
        return web.json_response(answer)

    async def _control(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text() or "{}")
        chain = self._chain
        try:
            match request.match_info["command"]:
                case "mine":
                    chain.mine(body["blocks"])
                case "advance":
                    chain.advance(body["seconds"])
                case "reorg":
                    chain.rollback(body["depth"], body["drop"])
                case "fund":
                    treasury.fund(chain, body["address"], body["unit"], body["amount"])
                    chain.mine()
                case _:
                    raise not_found()
        except (TxRejectedError, UnknownHeightError, ValueError) as error:
            raise BlockfrostError(400, "Bad Request", str(error)) from error
        return web.json_response(self._views.block(chain.head))


async def serve(directory: Path, port: int, block_time: float | None, zero_time: int = 0) -> None:
    """Serve until the process ends; with a `block_time` (seconds) blocks come by themselves. A fresh chain's
    first slot begins at `zero_time` (Unix seconds), 0: now."""
    directory.mkdir(parents=True, exist_ok=True)
    ledger = ScalusLedger(directory / "ledger.log")
    chain = DevChain(ledger, treasury.genesis(), directory / "chain.jsonl", zero_time=zero_time)
    runner = web.AppRunner(BlockfrostServer(chain, ledger).app(), shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    while True:
        await asyncio.sleep(block_time or 3_600)
        if block_time is not None:
            chain.mine()


def main() -> None:
    """Run the server as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--block-time", type=float)
    parser.add_argument("--zero-time", type=int, default=0)
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(args.directory, args.port, args.block_time, args.zero_time))


if __name__ == "__main__":
    main()
