"""What `rainbow init`, `devnet` and the demonstration need of Solana."""

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
from relayers.solana import timing


class SolanaTools:
    """See `bridge.chains.family.FamilyTools`."""

    title = "a Solana node"
    instance_name = "solana"
    always_joins = False
    init_options = (
        InitOption("rpc", "URL of a Solana RPC: Solana joins. Without it, it does not.", joins=True),
        InitOption("ws", "Its WebSocket, optional."),
        InitOption("program", "Address of the HTLC program."),
    )

    def init_section(self, choices: InitChoices) -> str:
        """See `FamilyTools.init_section`; on dev the program is where the local chain has it."""
        local = choices.network is Network.DEV
        program = choices.get("program")
        if local and not program:
            from relayers.solana.devnet.local import PROGRAM

            program = str(PROGRAM)
        values = {
            "rpc": choices.get("rpc"),
            "ws": choices.get("ws"),
            "program": program,
            "lag": "0" if local else "8",
        }
        numbers = timing_from(timing.DEVNET if local else timing.MAINNET)
        return section_text(__package__, choices, numbers, poll="1.0", values=values)

    def offer(self, choices: InitChoices) -> SampleOffer:  # noqa: ARG002 - the same for all
        """See `FamilyTools.offer`."""
        comment = "SPL tokens: contract = their mint"
        return SampleOffer(keep="0.5", price="150", least="0.05", most=15, comment=comment)

    def local_assets(self, chain: ChainId, number: int = 0) -> LocalAssets:  # noqa: ARG002 - all alike
        """See `FamilyTools.local_assets`."""
        from relayers.solana.devnet.local import DEMO_TOKEN

        return LocalAssets(Asset(chain, "SOL", 9), msgspec.structs.replace(DEMO_TOKEN, chain=chain))

    def local_chain(self, plan: LocalPlan) -> LocalInstance:
        """See `FamilyTools.local_chain`."""
        from relayers.solana.accounting import SolanaLedger
        from relayers.solana.devnet.local import SolanaDevnet

        node = SolanaDevnet(plan.directory, block_time=plan.block_time, port=plan.port, chain=plan.chain)
        return LocalInstance(
            chain=plan.chain,
            title=self.title,
            node=node,
            assets=self.local_assets(plan.chain),
            url=node.rpc_url,
            section=lambda: {
                "family": "solana",
                "rpc_urls": [node.rpc_url],
                "ws_url": node.ws_url,
                "contract": str(node.program),
                "index_lag": 0,
                "timing": local_timing(plan.block_time, 3),
            },
            ledger=lambda _reader: SolanaLedger(node.settings),
        )
