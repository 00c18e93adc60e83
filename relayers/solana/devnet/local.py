"""The local Solana as a child process under test control; implements `bridge.chains.local.devnet.Devnet`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bridge.chains.local.servers import ChildServer
from bridge.protocol.types import Asset, ChainId
from relayers.solana.devnet.genesis import DEMO_TOKEN, PROGRAM, demo_token, describe, free_ports, settings_at
from relayers.solana.settings import SOL, SolanaSettings

__all__ = ["DEMO_TOKEN", "PROGRAM", "SolanaDevnet"]


class SolanaDevnet(ChildServer):
    """A `relayers.solana.devnet.node.SolanaNode` in a process of its own, with the program and a demo token.

    With a `block_time` (seconds) it makes blocks by itself on the real clock; without it, only on `mine`, and
    its clock stands still in between. Its journal under `directory` survives a kill: a node started again
    goes on from its last block and pending transactions. It listens at `port` and the one after it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        block_time: float | None = None,
        port: int = 0,
        confirmed_after: int = 0,
        finalized_after: int = 32,
        chain: ChainId = SOL.chain,
    ) -> None:
        super().__init__("Solana", port or free_ports(), directory / "solana.log", "/devnet")
        self.directory = directory
        self.block_time = block_time
        self.chain = chain
        self.token = demo_token(chain)
        self.program = PROGRAM
        self._levels = (confirmed_after, finalized_after)

    @property
    def rpc_url(self) -> str:
        """Where JSON-RPC is served."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where subscriptions are served."""
        return f"ws://127.0.0.1:{self.port + 1}"

    @property
    def settings(self) -> SolanaSettings:
        """What `open_port` needs for this devnet."""
        return settings_at(self.port, self.chain)

    async def start(self) -> SolanaDevnet:
        """Start the node. Returns itself."""
        await self.restart()
        return self

    async def restart(self) -> None:
        """Start a killed or stopped node again, on the same port and from its journal."""
        confirmed, finalized = self._levels
        command = [sys.executable, "-m", "relayers.solana.devnet.node", "--port", str(self.port)]
        command += ["--journal", str(self.directory / "journal.jsonl")]
        command += ["--interval", str(self.block_time or 0)]
        command += ["--confirmed-after", str(confirmed), "--finalized-after", str(finalized)]
        health = {"jsonrpc": "2.0", "id": 1, "method": "getHealth"}
        await self._spawn(command, lambda: self._client.post("/", json=health))

    async def mine(self, blocks: int) -> None:
        """Make blocks now."""
        await self._command("mine", blocks=blocks)

    async def skip(self, slots: int) -> None:
        """Let slots pass without a block, as when their leaders are down."""
        await self._command("skip", slots=slots)

    async def congest(self, toll: int, *, shown: bool = True) -> None:
        """Let nothing in that bids less than `toll` micro-lamports per unit; 0 ends it."""
        await self._command("congest", toll=toll, shown=shown)

    async def advance_time(self, seconds: int) -> None:
        """Make one block whose time is the head's plus `seconds`."""
        await self._command("advance_time", seconds=seconds)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the last `depth` blocks by one more on another fork, in later slots."""
        await self._command("reorg", depth=depth, drop=list(drop))

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address lamports of the treasury, or new demo tokens and the account to hold them, in a
        block of their own."""
        await self._command("give", address=address, mint=asset.contract, amount=amount)

    def describe(self) -> Mapping[str, str]:
        """Return URLs, addresses and paths worth printing."""
        return {**describe(self.port, self.chain), f"{self.chain} log": str(self._log)}
