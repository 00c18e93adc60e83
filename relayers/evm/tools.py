"""What `rainbow init`, `devnet` and the demonstration need of EVM chains."""

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
from relayers.evm import timing

LOCAL_CHAIN_ID = 31_337
"""anvil's own; further local instances count up from it."""
LOCAL_PORT = 8_545
"""anvil's own; further local instances are a hundred apart."""
CHAIN_IDS = {Network.MAIN: 1, Network.TEST: 11_155_111}
"""Ethereum and Sepolia (EIP-155 ids, as ethereum-lists/chains has them)."""
L1_CHAIN_IDS = frozenset({1, 11_155_111})
DEAR_CHAIN_LEAST_WORTH = "50"
"""What a swap into ether on Ethereum should be worth: its fees make small swaps senseless."""


class EvmTools:
    """See `bridge.chains.family.FamilyTools`."""

    title = "an Ethereum node"
    instance_name = "ethereum"
    always_joins = True
    init_options = (
        InitOption("rpc", "URL of your node.", joins=True),
        InitOption("ws", "Its WebSocket, optional."),
        InitOption("contract", "Address of the HTLC contract."),
        InitOption("chain-id", "The network's EIP-155 chain id."),
    )

    def init_section(self, choices: InitChoices) -> str:
        """See `FamilyTools.init_section`."""
        local = choices.network is Network.DEV
        port = LOCAL_PORT + 100 * choices.number
        contract = choices.get("contract")
        if local and not contract:
            from relayers.evm.artifacts import deployed_address

            contract = deployed_address()
        numbers = timing.DEVNET if local else timing.MAINNET
        own_node = local and "rpc" not in choices.answers
        values = {
            "rpc": choices.get("rpc", f"http://127.0.0.1:{port}"),
            "ws": choices.get("ws", f"ws://127.0.0.1:{port}" if own_node else ""),
            "chain_id": str(self._chain_id(choices)),
            "contract": contract,
        }
        return section_text(__package__, choices, timing_from(numbers), poll="3.0", values=values)

    def _chain_id(self, choices: InitChoices) -> int:
        default = CHAIN_IDS.get(choices.network, LOCAL_CHAIN_ID + choices.number)
        return int(choices.get("chain-id", str(default)))

    def offer(self, choices: InitChoices) -> SampleOffer:
        """See `FamilyTools.offer`."""
        dear = self._chain_id(choices) in L1_CHAIN_IDS
        return SampleOffer(
            keep="0.05",
            price="2000",
            least="0.001",
            most=1,
            least_worth=DEAR_CHAIN_LEAST_WORTH if dear else "0",
            comment="ERC-20 tokens: contract = their address",
        )

    def local_assets(self, chain: ChainId, number: int = 0) -> LocalAssets:  # noqa: ARG002 - all alike
        """See `FamilyTools.local_assets`."""
        from relayers.evm.devnet import demo_token

        return LocalAssets(Asset(chain, "ETH", 18), demo_token.asset(chain))

    def local_chain(self, plan: LocalPlan) -> LocalInstance:
        """See `FamilyTools.local_chain`."""
        from relayers.evm.accounting import EvmLedger
        from relayers.evm.devnet.anvil import AnvilDevnet

        chain_id = LOCAL_CHAIN_ID + plan.number
        node = AnvilDevnet(
            plan.directory,
            block_time=plan.block_time,
            persist=True,
            port=plan.port,
            chain=plan.chain,
            chain_id=chain_id,
        )
        return LocalInstance(
            chain=plan.chain,
            title=self.title,
            node=node,
            assets=self.local_assets(plan.chain),
            url=node.rpc_url,
            section=lambda: {
                "family": "evm",
                "rpc_urls": [node.rpc_url],
                "ws_url": node.ws_url,
                "chain_id": chain_id,
                "contract": node.contract,
                "timing": local_timing(plan.block_time, 3),
            },
            ledger=lambda reader: EvmLedger(reader, node.rpc_url),
        )
