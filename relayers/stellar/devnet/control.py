"""What a test network has beside its RPC: its ledgers and clock on command, and money for anybody."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from stellar_sdk import StrKey

from relayers.stellar.devnet.node import StellarNode

FRIENDBOT_STROOPS = 10_000 * 10**7


class Control:
    """Answers for one node."""

    def __init__(self, node: StellarNode) -> None:
        self._node = node

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [
            Route("/", self._root),
            Route("/friendbot", self._friendbot),
            Route("/devnet/{command}", self._command, methods=["POST"]),
        ]

    async def _root(self, _request: Request) -> Response:
        """Say who we are."""
        header, passphrase = self._node.network.header, self._node.network.passphrase
        return JSONResponse(
            {"network_passphrase": passphrase, "ledger": header.sequence, "protocol": header.protocol}
        )

    async def _friendbot(self, request: Request) -> Response:
        """Give an address 10,000 XLM in a ledger of its own, as the test networks' friendbots do."""
        address = request.query_params.get("addr", "")
        if not StrKey.is_valid_ed25519_public_key(address):
            return _problem(400, "addr must be an account (G…)")
        return await self._fund(address, FRIENDBOT_STROOPS)

    async def _command(self, request: Request) -> Response:
        """Make ledgers, move the clock, go back, hand out lumens."""
        command = request.path_params["command"]
        try:
            wish: dict[str, Any] = json.loads(await request.body() or b"{}")
            if command == "fund":
                return await self._fund(wish["address"], int(wish["stroops"]))
            if command == "close":
                for _ in range(int(wish.get("count", 1))):
                    await self._node.close()
            elif command == "advance":
                await self._node.advance(int(wish["seconds"]))
            elif command == "reorg":
                await self._node.reorg(int(wish["depth"]), wish.get("drop", ()))
            else:
                return _problem(404, "there are close, advance, reorg and fund")
        except (ValueError, KeyError, AttributeError) as error:
            return _problem(
                400, f"{command} lacks something, or something is wrong in it ({type(error).__name__})"
            )
        return JSONResponse({"ledger": self._node.network.header.sequence})

    async def _fund(self, address: str, stroops: int) -> Response:
        status, frame = self._node.fund(address, stroops)
        await self._node.close()
        if self._node.network.transaction(frame.contents_hash) is None:
            return _problem(503, f"the treasury's payment was refused: {status.value}; try again")
        named = frame.contents_hash.hex()
        return JSONResponse({"hash": named, "ledger": self._node.network.header.sequence})


def _problem(status: int, detail: str) -> Response:
    return JSONResponse({"status": status, "detail": detail}, status)
