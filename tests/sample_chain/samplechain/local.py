"""The sample chain's node as a child process, and its books for an auditor."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from bridge.chains.family import (
    LOCKS,
)
from bridge.chains.local.processes import free_port
from bridge.chains.local.servers import ChildServer
from bridge.protocol.types import Address, Amount, Asset, BlockHeight, ChainId, TxId


class SampleDevnet(ChildServer):
    """The node as a child process; a `bridge.chains.family.LocalChain`. `block_time` 0: blocks on request."""

    def __init__(
        self, directory: Path, *, block_time: float = 0, port: int = 0, chain: ChainId = ChainId("sample")
    ) -> None:
        super().__init__("sample", port or free_port(), directory / "node.log", "/devnet")
        self.chain = chain
        self.rpc_url = f"http://127.0.0.1:{self.port}"
        self._command_line = [
            *(sys.executable, "-m", "samplechain.server"),
            *(str(self.port), str(directory / "journal.jsonl"), str(block_time)),
        ]

    async def start(self) -> SampleDevnet:
        """Start the node. Returns itself."""
        await self.restart()
        return self

    async def restart(self) -> None:
        """Start a killed node again, from its journal."""
        await self._spawn(self._command_line, lambda: self._client.get("/blocks"))

    async def mine(self, blocks: int) -> None:
        """Make blocks now."""
        await self._command("mine", blocks=blocks)

    async def advance_time(self, seconds: int) -> None:
        """Make one block whose time is the head's plus `seconds`."""
        await self._command("advance_time", seconds=seconds)

    async def reorg(self, depth: int, drop: Sequence[TxId] = ()) -> None:
        """Replace the last `depth` blocks by one more on another branch."""
        await self._command("reorg", depth=depth, drop=list(drop))

    async def fund(self, address: Address, asset: Asset, amount: Amount) -> None:
        """Pay from the treasury, in a block of its own."""
        await self._command("fund", address=address, amount=amount)

    def describe(self) -> Mapping[str, str]:
        """Return what is worth printing."""
        return {f"{self.chain} rpc": self.rpc_url, f"{self.chain} log": str(self._log)}


class SampleLedger:
    """See `bridge.chains.family.Ledger`."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=30)

    async def holdings(self, accounts: Mapping[str, Address], asset: Asset) -> Mapping[str, Amount]:
        """See `Ledger.holdings`."""
        held = {
            owner: Amount((await self._client.get(f"/accounts/{address}")).json()["balance"])
            for owner, address in accounts.items()
        }
        return held | {LOCKS: Amount((await self._client.get("/locked")).json()["amount"])}

    async def fees_paid(self, payers: set[Address], first: BlockHeight, last: BlockHeight) -> Amount:
        """See `Ledger.fees_paid`."""
        paid = 0
        for height in range(first, last + 1):
            (block,) = (await self._client.get("/blocks", params={"first": height})).json()["blocks"]
            paid += sum(tx["fee"] for tx in block["txs"] if tx["sender"] in payers)
        return Amount(paid)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
