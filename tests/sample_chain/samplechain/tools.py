"""What `rainbow init`, `devnet` and tests use: optional for a family."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from bridge.chains.config import timing_from
from bridge.chains.family import (
    LOCKS,
    InitChoices,
    InitOption,
    LocalAssets,
    LocalInstance,
    LocalPlan,
    SampleOffer,
)
from bridge.chains.init_text import section_text
from bridge.chains.local.processes import free_port
from bridge.chains.local.servers import ChildServer
from bridge.chains.local.timing import local_timing
from bridge.protocol.types import Address, Amount, Asset, BlockHeight, ChainId, ChainTiming, TxId
from samplechain.ledger import DECIMALS, SYMBOL

RPC = "http://127.0.0.1:48081"


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


class SampleTools:
    """See `bridge.chains.family.FamilyTools`."""

    title = "a node of the sample chain"
    instance_name = "sample"
    always_joins = False
    init_options = (InitOption("rpc", "URL of your node.", joins=True),)

    def init_section(self, choices: InitChoices) -> str:
        """See `FamilyTools.init_section`."""
        numbers = timing_from(ChainTiming(block_interval=1, finality_depth=3, inclusion_p99=5, clock_skew=15))
        values = {"rpc": choices.get("rpc", RPC)}
        return section_text(__package__, choices, numbers, poll="1.0", values=values)

    def offer(self, choices: InitChoices) -> SampleOffer:
        """See `FamilyTools.offer`."""
        return SampleOffer(keep="1", price="1", least="1", most=1_000)

    def local_assets(self, chain: ChainId, number: int = 0) -> LocalAssets:
        """See `FamilyTools.local_assets`."""
        return LocalAssets(Asset(chain, SYMBOL, DECIMALS))

    def local_chain(self, plan: LocalPlan) -> LocalInstance:
        """See `FamilyTools.local_chain`."""
        node = SampleDevnet(plan.directory, block_time=plan.block_time, port=plan.port, chain=plan.chain)
        return LocalInstance(
            chain=plan.chain,
            title=self.title,
            node=node,
            assets=self.local_assets(plan.chain),
            url=node.rpc_url,
            section=lambda: {
                "family": "sample",
                "rpc_urls": [node.rpc_url],
                "timing": local_timing(plan.block_time, 3),
            },
            ledger=lambda _reader: SampleLedger(node.rpc_url),
        )
