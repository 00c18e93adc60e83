"""The sample chain's node: blocks, waiting transactions and a journal, served over HTTP.

`python -m samplechain.server PORT JOURNAL BLOCK_TIME` serves one until it is told to stop.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from bridge.keys.devkeys import devnet_key
from samplechain.ledger import MIN_FEE, REPLACEMENT_PERCENT, Block, InvalidError, Ledger, Tx, address_of

TREASURY = devnet_key("sample/treasury")
TREASURY_MONEY = 10**18
PAGE = 500
"""The most blocks in one answer."""


class Step(msgspec.Struct, frozen=True):
    """A line of the journal: blocks that left the chain, transactions forgotten, what came instead."""

    cut: int = 0
    drop: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    tx: Tx | None = None


class Chain:
    """The chain in memory and, line by line, in its journal, which survives `kill -9`."""

    def __init__(self, journal: Path) -> None:
        self.waiting: dict[str, Tx] = {}
        self.blocks: list[Block] = []
        self.included: dict[str, int] = {}
        self.ledger = Ledger()
        self._branch = 0
        lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]  # the last one may have been cut by a kill
        journal.write_bytes(b"".join(whole))
        self._file = journal.open("ab", buffering=0)
        for line in whole:
            self._take(msgspec.json.decode(line, type=Step))
        if not self.blocks:
            self._do(Step(blocks=(Block(0, "", int(time.time()), 0),)))

    @property
    def head(self) -> Block:
        """The newest block."""
        return self.blocks[-1]

    def submit(self, tx: Tx) -> tuple[str, str]:
        """Take a transaction in; return one of `BroadcastOutcome`'s words and why."""
        if tx.tx_id in self.waiting or tx.tx_id in self.included:
            return "already_known", ""
        turn = self.ledger.sequences.get(tx.sender, 0)
        if tx.sequence < turn:
            return "sequence_used", f"the next sequence is {turn}"
        try:
            tx.check_signature()
            if tx.sequence == turn:
                self.ledger.check(tx, self.head.time)
        except InvalidError as error:
            return "rejected", str(error)
        rivals = [
            old for old in self.waiting.values() if (old.sender, old.sequence) == (tx.sender, tx.sequence)
        ]
        if any(tx.fee * 100 < old.fee * REPLACEMENT_PERCENT for old in rivals):
            return "underpriced", f"{REPLACEMENT_PERCENT} % of the waiting transaction's fee is needed"
        self._do(Step(tx=tx, drop=tuple(old.tx_id for old in rivals)))
        return "accepted", ""

    def mine(self, when: int) -> None:
        """Make a block at `when`, Unix seconds, of everything that can be included."""
        trial, txs, forgotten = self._replayed(self.blocks), [], []
        queue = sorted(self.waiting.values(), key=lambda tx: tx.sequence)
        for tx in queue:
            if tx.sequence > trial.sequences.get(tx.sender, 0):
                continue  # a gap before it: it waits
            try:
                trial.apply(tx, self.head.time)
                txs.append(tx)
            except InvalidError:
                forgotten.append(tx.tx_id)
        block = Block(self.head.height + 1, self.head.id, max(when, self.head.time), self._branch, tuple(txs))
        self._do(Step(blocks=(block,), drop=tuple(forgotten)))

    def reorg(self, depth: int, drop: Sequence[str]) -> None:
        """Replace the last `depth` blocks by one more; all but `drop` waits again, and is included again."""
        if not 0 < depth < len(self.blocks):
            raise InvalidError(f"cannot replace {depth} of {len(self.blocks)} blocks")
        times = [block.time for block in self.blocks[-depth:]]
        self._do(Step(cut=depth, drop=tuple(drop)))
        for when in (*times, times[-1]):
            self.mine(when)

    def fund(self, address: str, amount: int) -> None:
        """Pay from the treasury, in a block of its own."""
        sender = address_of(TREASURY)
        turn = self.ledger.sequences.get(sender, 0)
        tx = Tx(sender, turn, MIN_FEE, "transfer", address, amount).signed(TREASURY)
        outcome, reason = self.submit(tx)
        if outcome != "accepted":
            raise InvalidError(reason)
        self.mine(self.head.time)

    def _do(self, step: Step) -> None:
        self._file.write(msgspec.json.encode(step) + b"\n")
        self._take(step)

    def _take(self, step: Step) -> None:
        if step.cut:
            self._branch += 1
            for block in self.blocks[-step.cut :]:
                for tx in block.txs:
                    del self.included[tx.tx_id]
                    self.waiting[tx.tx_id] = tx
            del self.blocks[-step.cut :]
            self.ledger = self._replayed(self.blocks)
        for block in step.blocks:
            self._extend(self.ledger, block, self.blocks)
            self.blocks.append(block)
            for tx in block.txs:
                self.included[tx.tx_id] = block.height
                self.waiting.pop(tx.tx_id, None)
        for tx_id in step.drop:
            self.waiting.pop(tx_id, None)
        if step.tx is not None:
            self.waiting[step.tx.tx_id] = step.tx

    def _replayed(self, blocks: Sequence[Block]) -> Ledger:
        ledger = Ledger()
        for index, block in enumerate(blocks):
            self._extend(ledger, block, blocks[:index][-1:])
        return ledger

    @staticmethod
    def _extend(ledger: Ledger, block: Block, before: Sequence[Block]) -> None:
        if not before:
            ledger.balances[address_of(TREASURY)] = TREASURY_MONEY
        for tx in block.txs:
            ledger.apply(tx, before[-1].time)


class Server:
    """The chain over HTTP. With a `block_time` (seconds) it makes blocks by itself on the real clock."""

    def __init__(self, chain: Chain, block_time: float) -> None:
        self._chain = chain
        self._block_time = block_time
        self._ahead = max(0, chain.head.time - int(time.time()))

    def app(self) -> web.Application:
        """Return what is served: the node's own paths, and commands for tests below /devnet."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/blocks", self._blocks),
                web.get("/accounts/{address}", self._account),
                web.get("/locks/{id}", self._lock),
                web.get("/transactions/{id}", self._transaction),
                web.get("/locked", self._locked),
                web.post("/transactions", self._submit),
                web.post("/simulate", self._simulate),
                web.post("/devnet/{command}", self._command),
            ]
        )
        if self._block_time:
            app.on_startup.append(self._start_ticking)
        return app

    async def _blocks(self, request: web.Request) -> web.Response:
        first = int(request.query.get("first", self._chain.head.height))
        count = min(int(request.query.get("count", 1)), PAGE)
        found = self._chain.blocks[max(0, first) : max(0, first) + count]
        return _answer({"head": self._chain.head, "blocks": found})

    async def _account(self, request: web.Request) -> web.Response:
        ledger, address = self._chain.ledger, request.match_info["address"]
        held = {"balance": ledger.balances.get(address, 0), "sequence": ledger.sequences.get(address, 0)}
        return _answer(held)

    async def _lock(self, request: web.Request) -> web.Response:
        lock = self._chain.ledger.locks.get(request.match_info["id"])
        return _answer({"status": "absent" if lock is None else lock.status})

    async def _locked(self, request: web.Request) -> web.Response:
        locks = self._chain.ledger.locks.values()
        return _answer({"amount": sum(lock.amount for lock in locks if lock.status == "open")})

    async def _transaction(self, request: web.Request) -> web.Response:
        tx_id, chain = request.match_info["id"], self._chain
        height = chain.included.get(tx_id)
        block = None if height is None else chain.blocks[height]
        return _answer({"waiting": tx_id in chain.waiting, "block": block, "height": chain.head.height})

    async def _submit(self, request: web.Request) -> web.Response:
        outcome, reason = self._chain.submit(msgspec.json.decode(await request.read(), type=Tx))
        return _answer({"outcome": outcome, "reason": reason})

    async def _simulate(self, request: web.Request) -> web.Response:
        tx = msgspec.json.decode(await request.read(), type=Tx)
        try:
            self._chain.ledger.check(tx, self._chain.head.time)
        except InvalidError as error:
            return _answer({"refused": str(error), "funds": error.funds})
        return _answer({"refused": "", "funds": False})

    async def _command(self, request: web.Request) -> web.Response:
        wish, chain = await request.json(), self._chain
        try:
            match request.match_info["command"]:
                case "mine":
                    for _ in range(wish["blocks"]):
                        chain.mine(self._now() if self._block_time else chain.head.time + 1)
                case "advance_time":
                    chain.mine(chain.head.time + wish["seconds"])
                    self._ahead = max(self._ahead, chain.head.time - int(time.time()))
                case "reorg":
                    chain.reorg(wish["depth"], wish["drop"])
                case "fund":
                    chain.fund(wish["address"], wish["amount"])
                case other:
                    raise InvalidError(f"there is no command {other}")
        except InvalidError as error:
            return web.Response(status=400, text=str(error))
        return _answer({})

    def _now(self) -> int:
        return int(time.time()) + self._ahead

    async def _start_ticking(self, app: web.Application) -> None:
        self._ticker = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._block_time)
            self._chain.mine(self._now())


def _answer(content: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), content_type="application/json")


if __name__ == "__main__":
    chain = Chain(Path(sys.argv[2]))
    web.run_app(Server(chain, float(sys.argv[3])).app(), host="127.0.0.1", port=int(sys.argv[1]), print=None)
