"""What `rainbow init`, `devnet` and tests use: optional for a family."""

from __future__ import annotations

from bridge.chains.config import timing_from
from bridge.chains.family import (
    InitChoices,
    InitOption,
    LocalAssets,
    LocalInstance,
    LocalPlan,
    SampleOffer,
)
from bridge.chains.init_text import section_text
from bridge.chains.local.timing import local_timing
from bridge.protocol.types import Asset, ChainId, ChainTiming
from samplechain.ledger import DECIMALS, SYMBOL

RPC = "http://127.0.0.1:48081"


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
        from samplechain.local import SampleDevnet, SampleLedger

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
