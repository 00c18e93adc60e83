"""What `rainbow init`, `devnet` and the demonstration need of Cardano."""

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
from relayers.cardano import timing

LOCAL_ZERO_TIME = 1_735_689_600
"""When the first slot of the local Cardano begins: 2025-01-01, so that a configuration can name it before the
chain exists."""


class CardanoTools:
    """See `bridge.chains.family.FamilyTools`."""

    title = "a Cardano ledger"
    instance_name = "cardano"
    always_joins = False
    init_options = (
        InitOption(
            "blockfrost", "URL of a Blockfrost service: Cardano joins. Without it, it does not.", joins=True
        ),
        InitOption("ogmios", "URL of Ogmios (ws://…): Cardano joins through your own node.", joins=True),
        InitOption("kupo", "URL of the Kupo that goes with it.", joins=True),
        InitOption("reference-script", "The output that carries the validator, <transaction id>#<index>."),
    )

    def init_section(self, choices: InitChoices) -> str:
        """See `FamilyTools.init_section`; on dev the validator is where the local chain has it."""
        local = choices.network is Network.DEV
        reference_script = choices.get("reference-script")
        if local and "reference-script" not in choices.answers:
            from relayers.cardano.devnet.treasury import REFERENCE_SCRIPT

            reference_script = REFERENCE_SCRIPT
        values = {
            "upper": choices.chain.upper(),
            **{name: choices.get(name) for name in ("blockfrost", "ogmios", "kupo")},
            "reference_script": reference_script,
            "zero_time": str(LOCAL_ZERO_TIME if local else 0),
            "ttl": "300" if local else "1200",
            "margin": "30" if local else "1200",
        }
        numbers = timing_from(timing.DEVNET if local else timing.PUBLIC)
        return section_text(__package__, choices, numbers, poll="5.0", values=values)

    def offer(self, choices: InitChoices) -> SampleOffer:  # noqa: ARG002 - the same for all
        """See `FamilyTools.offer`."""
        comment = "native tokens: contract = policy id and asset name, hex"
        return SampleOffer(keep="50", price="0.5", least="10", most=4_000, comment=comment)

    def local_assets(self, chain: ChainId, number: int = 0) -> LocalAssets:  # noqa: ARG002 - all alike
        """See `FamilyTools.local_assets`."""
        from relayers.cardano.devnet import DEMO_TOKEN

        return LocalAssets(Asset(chain, "ADA", 6), msgspec.structs.replace(DEMO_TOKEN, chain=chain))

    def local_chain(self, plan: LocalPlan) -> LocalInstance:
        """See `FamilyTools.local_chain`."""
        from relayers.cardano.accounting import CardanoLedger
        from relayers.cardano.devnet import CardanoDevnet

        node = CardanoDevnet(
            plan.directory,
            block_time=plan.block_time,
            port=plan.port,
            zero_time=LOCAL_ZERO_TIME,
            chain=plan.chain,
        )
        return LocalInstance(
            chain=plan.chain,
            title=self.title,
            node=node,
            assets=self.local_assets(plan.chain),
            url=node.blockfrost_url,
            section=lambda: {
                "family": "cardano",
                "blockfrost_url": node.blockfrost_url,
                "reference_script": node.settings.reference_script,
                "zero_time": node.settings.zero_time,
                "time_to_live": node.settings.time_to_live,
                "rollback_margin": node.settings.rollback_margin,
                "timing": local_timing(plan.block_time, 3),
            },
            ledger=lambda _reader: CardanoLedger(node.settings),
        )
