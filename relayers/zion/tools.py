"""What `rainbow init`, `devnet` and the demonstration need of ZION."""

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
from bridge.chains.network import Network
from bridge.protocol.types import Asset, ChainId
from chain.rules.params import Network as ZionNetwork
from relayers.zion import timing

RPC = {
    Network.MAIN: "http://127.0.0.1:18081",
    Network.TEST: "http://127.0.0.1:28081",
    Network.DEV: "http://127.0.0.1:38081",
}


class ZionTools:
    """See `bridge.chains.family.FamilyTools`."""

    title = "a ZION node"
    instance_name = "zion"
    always_joins = True
    init_options = (InitOption("rpc", "URL of your ZION node."),)

    def init_section(self, choices: InitChoices) -> str:
        """See `FamilyTools.init_section`."""
        local = choices.network is Network.DEV
        numbers = timing_from(timing.timing(ZionNetwork(choices.network.value)), cap=12 if local else 120)
        values = {
            "rpc": choices.get("rpc", RPC[choices.network]),
            "value": "50000" if local else "50",
        }
        return section_text(__package__, choices, numbers, poll="5.0", values=values)

    def offer(self, choices: InitChoices) -> SampleOffer:  # noqa: ARG002 - the same for all
        """See `FamilyTools.offer`."""
        return SampleOffer(keep="10", price="0.5", least="5", most=4_000)

    def local_assets(self, chain: ChainId, number: int = 0) -> LocalAssets:  # noqa: ARG002 - all alike
        """See `FamilyTools.local_assets`."""
        return LocalAssets(Asset(chain, "ZION", 8))

    def local_chain(self, plan: LocalPlan) -> LocalInstance:
        """See `FamilyTools.local_chain`."""
        from relayers.zion.accounting import ZionLedger
        from relayers.zion.devnet.local import ZionDevnet

        node = ZionDevnet(plan.directory, block_time=plan.block_time, port=plan.port, chain=plan.chain)
        assets = self.local_assets(plan.chain)
        deeper = {assets.native.key: "5000"}
        return LocalInstance(
            chain=plan.chain,
            title=self.title,
            node=node,
            assets=assets,
            url=node.rpc_url,
            section=lambda: {
                "family": "zion",
                "rpc_urls": [node.rpc_url],
                "timing": local_timing(
                    plan.block_time, 3, finality_cap=6, value_per_block=deeper, depth_from={}
                ),
            },
            ledger=lambda _reader: ZionLedger(node.settings),
        )
