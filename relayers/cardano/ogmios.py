"""Ogmios v6: your own node over a WebSocket, in JSON-RPC 2.0 (CardanoSolutions/ogmios, docs/static/api)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
from pycardano import ProtocolParameters
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.protocol import State

from bridge.chains.endpoints.answers import Answer, EndpointError, shortened
from bridge.chains.endpoints.http import MAX_BODY
from bridge.chains.endpoints.names import redacted
from bridge.chains.errors import PortUnavailableError
from bridge.protocol.types import TxId
from kernels.errors import RainbowError
from relayers.cardano.cbor_items import CborError
from relayers.cardano.chain_view import NetworkId, Output, OutRef, TxRefusedError, Waiting
from relayers.cardano.json_items import loads
from relayers.cardano.ogmios_tx import ShownTx, shown_tx
from relayers.cardano.parameters import from_ogmios

_AGAIN = "it may pass by itself; check Ogmios and its node if it lasts, or use another service"
_UNKNOWN_METHOD = -32601
_NO_INTERSECTION = 1000
"""Error code of findIntersection when none of the points is on the chain."""
_TRANSACTION_CODES = range(3000, 4000)
"""Error codes of submitTransaction and evaluateTransaction."""
_UNREADABLE_TRANSACTION = -32602
_NODE_BEHIND = frozenset({3003, 3004, 3005})
"""Among those, the ones that say something of the node and not of the transaction."""

Json = dict[str, Any]


class Point(msgspec.Struct, frozen=True):
    """A block's slot and id."""

    slot: int
    id: str


class ChainTip(msgspec.Struct, frozen=True):
    """The newest block of the node."""

    slot: int
    id: str
    height: int


class OgmiosBlock(msgspec.Struct, frozen=True):
    """A block: its place, and its transactions' ids in order. `failed` are those of which only the collateral
    was taken, with what they show (None: it cannot be read). `ancestor` is "genesis" for the first."""

    slot: int
    id: str
    height: int
    ancestor: str
    transactions: tuple[str, ...]
    failed: dict[str, ShownTx | None]


class RpcFailedError(RainbowError):
    """Ogmios answered with an error of its own codes."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Session:
    """The connection, for one conversation: chain-sync and mempool keep a state on the other side."""

    def __init__(self, connection: ClientConnection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._asked = 0

    async def ask(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Send one request and return its result. Raises `RpcFailedError`, `PortUnavailableError`."""
        self._asked += 1
        request: Json = {"jsonrpc": "2.0", "method": method, "id": self._asked}
        if params is not None:
            request["params"] = params
        async with asyncio.timeout(self._timeout):
            await self._connection.send(msgspec.json.encode(request).decode())
            text = await self._connection.recv()
        answer = loads(text.encode() if isinstance(text, str) else text)
        if not isinstance(answer, dict) or answer.get("id") != self._asked:
            raise EndpointError("Ogmios answered something else than it was asked", _AGAIN, kind=Answer.WRONG)
        error = answer.get("error")
        if error is not None:
            said = shortened(f"{error.get('message')} {error.get('data', '')}")
            raise RpcFailedError(int(error["code"]), f"{method}: {said}")
        return answer["result"]


class Ogmios:
    """One Ogmios server. Everything goes over one connection, one conversation at a time.

    `name` is what messages call it; `on_connect` is called when the connection was opened.
    """

    def __init__(self, url: str, timeout: float, name: str = "Ogmios") -> None:
        self._url = url
        self.name = name
        self.on_connect: Callable[[], None] = _nothing
        self._timeout = timeout
        self._connection: ClientConnection | None = None
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return "Ogmios(<url redacted>)"

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Have the connection for oneself. Whatever goes wrong on it ends it: the next one is fresh.

        An error of Ogmios that the body does not expect says nothing of the chain: another endpoint may.
        """
        async with self._turn:
            clean = False
            try:
                if self._connection is None or self._connection.state is not State.OPEN:
                    self._connection = await connect(
                        self._url, open_timeout=self._timeout, close_timeout=1, max_size=MAX_BODY
                    )
                    self.on_connect()
                yield Session(self._connection, self._timeout)
                clean = True
            except TxRefusedError:
                clean = True
                raise
            except RpcFailedError as error:
                clean = True
                kind = Answer.PERMANENT if error.code == _UNKNOWN_METHOD else Answer.PASSING
                raise EndpointError(
                    f"{self.name}, Ogmios answered with error {error.code}: {error}", _AGAIN, kind=kind
                ) from error
            except (OSError, TimeoutError, WebSocketException) as error:
                # Without the error as its cause: its own words contain the URL.
                slow = isinstance(error, TimeoutError)
                raise EndpointError(
                    f"{self.name}, Ogmios did not answer ({type(error).__name__})", _AGAIN, slow=slow
                ) from None
            except PortUnavailableError as error:
                raise self._named(error) from error
            except (LookupError, TypeError, ValueError, AttributeError, msgspec.MsgspecError) as error:
                raise EndpointError(
                    f"{self.name}, Ogmios answered something unreadable ({type(error).__name__})",
                    _AGAIN,
                    kind=Answer.WRONG,
                ) from error
            finally:
                if not clean:
                    await self._drop()

    def _named(self, error: PortUnavailableError) -> EndpointError:
        """Return an error that says which Ogmios it is, and shows no part of its URL."""
        kind = error.kind if isinstance(error, EndpointError) else Answer.PASSING
        return EndpointError(f"{self.name}, {redacted(error.message, self._url)}", error.hint, kind=kind)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    # ------------------------------------------------------------------ queries

    async def network(self) -> NetworkId:
        """Return which network this is, as the genesis file of the node has it."""
        async with self.session() as session:
            found = await session.ask("queryNetwork/genesisConfiguration", {"era": "shelley"})
            start = datetime.fromisoformat(str(found["startTime"]))
            return NetworkId(int(found["networkMagic"]), int(start.timestamp()))

    async def parameters(self) -> ProtocolParameters:
        """Return the protocol parameters."""
        async with self.session() as session:
            return from_ogmios(await session.ask("queryLedgerState/protocolParameters"))

    # ------------------------------------------------------------------ chain synchronisation

    async def intersect(self, points: list[Point]) -> tuple[Point | None, ChainTip]:
        """Return the first of the points that is on the node's chain, and its tip."""
        async with self.session() as session:
            return await _intersect(session, points)

    async def blocks_after(self, point: Point | None, count: int) -> list[OgmiosBlock] | None:
        """Return up to `count` blocks after a point (None: from the first on), oldest first; None if the
        point is not on the node's chain, or ceases to be while it is read.

        Fewer come if the conversation ends in between: what was read until then is a chain.
        """
        blocks: list[OgmiosBlock] = []
        try:
            async with self.session() as session:
                if await self._follow(session, point, count, blocks):
                    return blocks
        except EndpointError:
            if not blocks:
                raise
            return blocks
        return None

    async def _follow(
        self, session: Session, point: Point | None, count: int, blocks: list[OgmiosBlock]
    ) -> bool:
        """Fill `blocks` with what follows a point; False if that is not on the node's chain."""
        if point is None:
            tip = _tip((await session.ask("findIntersection", {"points": ["origin"]}))["tip"])
            newest = "" if tip is None else tip.id
        else:
            found, tip = await _intersect(session, [point])
            if found is None:
                return False
            newest = tip.id
            if newest == point.id:
                return True
        while len(blocks) < count and newest and (not blocks or blocks[-1].id != newest):
            step = await session.ask("nextBlock")
            if step["direction"] == "forward":
                blocks.append(_block(step["block"]))
            elif blocks or (point is not None and step["point"] != {"slot": point.slot, "id": point.id}):
                return False  # it begins with a roll-back to where we are, any other is a real one
            latest = _tip(step["tip"])
            newest = "" if latest is None else latest.id
        return True

    async def shown(self, before: Point | None, block_id: str, wanted: set[str]) -> dict[str, ShownTx | None]:
        """Return what some transactions of a block show (None: it cannot be read), those that are in it;
        `before` is the block before it. Nothing is returned if another block follows there."""
        async with self.session() as session:
            if before is None:
                await session.ask("findIntersection", {"points": ["origin"]})
            elif (await _intersect(session, [before]))[0] is None:
                return {}
            for _ in range(2):  # it begins with a roll-back to where we are
                step = await session.ask("nextBlock")
                if step["direction"] == "forward":
                    block = step["block"]
                    if block["id"] != block_id:
                        return {}
                    txs = block.get("transactions") or ()
                    return {str(tx["id"]): _shown(tx) for tx in txs if tx["id"] in wanted}
            return {}

    # ------------------------------------------------------------------ mempool

    async def waiting(self) -> list[Waiting]:
        """Return what is in the mempool."""
        async with self.session() as session:
            await session.ask("acquireMempool")
            found: list[Waiting] = []
            while True:
                tx = (await session.ask("nextTransaction", {"fields": "all"}))["transaction"]
                if tx is None:
                    break
                if tx["spends"] == "inputs":
                    outputs = enumerate(tx["outputs"])
                    makes = tuple(_output(output, tx["id"], index) for index, output in outputs)
                    found.append(Waiting(tuple(map(_ref, tx["inputs"])), makes))
                else:
                    found.append(Waiting(tuple(map(_ref, tx["collaterals"])), ()))
            # Without this the next acquireMempool would wait for another mempool than this one.
            await session.ask("releaseMempool")
            return found

    async def is_waiting(self, tx_id: TxId) -> bool:
        """Tell whether a transaction is in the mempool."""
        async with self.session() as session:
            await session.ask("acquireMempool")
            found = await session.ask("hasTransaction", {"id": tx_id})
            await session.ask("releaseMempool")
            return bool(found)

    # ------------------------------------------------------------------ transactions

    async def submit(self, raw: bytes) -> str:
        """Send a transaction and return its id. Raises `TxRefusedError`."""
        async with self.session() as session:
            result = await _transact(session, "submitTransaction", raw)
            return str(result["transaction"]["id"])

    async def evaluate(self, raw: bytes) -> dict[str, tuple[int, int]]:
        """Return memory and steps that each redeemer ("spend:0") needs. Raises `TxRefusedError`."""
        async with self.session() as session:
            found = {}
            for evaluated in await _transact(session, "evaluateTransaction", raw):
                pointer, budget = evaluated["validator"], evaluated["budget"]
                name = f"{pointer['purpose']}:{int(pointer['index'])}"
                found[name] = (int(budget["memory"]), int(budget["cpu"]))
            return found


async def _intersect(session: Session, points: list[Point]) -> tuple[Point | None, ChainTip]:
    wanted = [{"slot": point.slot, "id": point.id} for point in points]
    try:
        result = await session.ask("findIntersection", {"points": wanted or ["origin"]})
    except RpcFailedError as error:
        if error.code != _NO_INTERSECTION:
            raise
        result = await session.ask("findIntersection", {"points": ["origin"]})
    tip = _tip(result["tip"])
    if tip is None:
        raise EndpointError("Ogmios: the node has no blocks yet", "wait until it is synchronised")
    found = result["intersection"]
    return (None if found == "origin" else Point(int(found["slot"]), str(found["id"]))), tip


async def _transact(session: Session, method: str, raw: bytes) -> Any:
    try:
        return await session.ask(method, {"transaction": {"cbor": raw.hex()}})
    except RpcFailedError as error:
        its_own_fault = error.code in _TRANSACTION_CODES and error.code not in _NODE_BEHIND
        if its_own_fault or error.code == _UNREADABLE_TRANSACTION:
            raise TxRefusedError(str(error)) from error
        raise


def _tip(found: Any) -> ChainTip | None:
    if found == "origin":
        return None
    return ChainTip(int(found["slot"]), str(found["id"]), int(found["height"]))


def _block(found: Json) -> OgmiosBlock:
    txs = found.get("transactions") or ()
    return OgmiosBlock(
        int(found["slot"]),
        str(found["id"]),
        int(found["height"]),
        str(found["ancestor"]),
        tuple(str(tx["id"]) for tx in txs),
        {str(tx["id"]): _shown(tx) for tx in txs if tx["spends"] != "inputs"},
    )


def _shown(tx: Json) -> ShownTx | None:
    """Return what a stranger's transaction shows, None if it cannot be read: that stops nothing."""
    try:
        return shown_tx(tx)
    except (LookupError, TypeError, ValueError, AttributeError, CborError):
        return None


def _ref(found: Json) -> OutRef:
    return str(found["transaction"]["id"]), int(found["index"])


def _output(found: Json, tx_id: TxId, index: int) -> Output:
    tokens = {
        policy + name: int(amount)
        for policy, assets in found["value"].items()
        if policy != "ada"
        for name, amount in assets.items()
    }
    lovelace = int(found["value"]["ada"]["lovelace"])
    return Output(
        tx_id,
        index,
        str(found["address"]),
        lovelace,
        tokens,
        found.get("datum"),
        found.get("script") is not None,
    )


def _nothing() -> None:
    return None
