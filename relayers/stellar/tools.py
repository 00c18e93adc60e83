"""What `rainbow init`, `devnet` and the demonstration need of Stellar."""

from __future__ import annotations

import msgspec

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
from relayers.stellar import timing


class StellarTools:
    """See `bridge.chains.family.FamilyTools`."""

    title = "a Stellar ledger"
    instance_name = "stellar"
    always_joins = False
    init_options = (
        InitOption("rpc", "URL of a Stellar RPC: Stellar joins. Without it, it does not.", joins=True),
        InitOption("contract", "Address of the HTLC contract (C…)."),
    )

    def init_section(self, choices: InitChoices) -> str:
        """See `FamilyTools.init_section`; on dev the contract is where the local chain has it."""
        local = choices.network is Network.DEV
        address = choices.get("contract")
        if local and not address:
            from relayers.stellar.devnet.local import CONTRACT

            address = CONTRACT
        numbers = timing_from(timing.DEVNET if local else timing.MAINNET)
        values = {"rpc": choices.get("rpc"), "contract": address}
        return section_text(__package__, choices, numbers, poll="2.0", values=values)

    def offer(self, choices: InitChoices) -> SampleOffer:  # noqa: ARG002 - the same for all
        """See `FamilyTools.offer`."""
        comment = 'issued assets: contract = "CODE:ISSUER", decimals = 7'
        return SampleOffer(keep="20", price="0.25", least="50", most=20_000, comment=comment)

    def local_assets(self, chain: ChainId, number: int = 0) -> LocalAssets:  # noqa: ARG002 - all alike
        """See `FamilyTools.local_assets`."""
        from relayers.stellar.devnet.local import TOKEN

        return LocalAssets(Asset(chain, "XLM", 7), msgspec.structs.replace(TOKEN, chain=chain))

    def local_chain(self, plan: LocalPlan) -> LocalInstance:
        """See `FamilyTools.local_chain`."""
        from relayers.stellar.accounting import StellarLedger
        from relayers.stellar.devnet.local import StellarDevnet

        node = StellarDevnet(plan.directory, block_time=plan.block_time, port=plan.port, chain=plan.chain)
        return LocalInstance(
            chain=plan.chain,
            title=self.title,
            node=node,
            assets=self.local_assets(plan.chain),
            url=node.url,
            section=lambda: {
                "family": "stellar",
                "rpc_urls": [node.url],
                "contract": node.settings.contract,
                "timing": local_timing(plan.block_time, 1),
            },
            ledger=lambda _reader: StellarLedger(node.settings),
        )
