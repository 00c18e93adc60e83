"""What `rainbow init`, `devnet` and the demonstration need of EVM chains."""

from __future__ import annotations

from bridge.chains.config import timing_from
from bridge.chains.errors import FamilyError
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
from relayers.evm.profiles import ETHEREUM_IDS, EvmProfile, ProfileError, profile_for

LOCAL_PORT = 8_545
"""anvil's own; further local instances are a hundred apart."""
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
        own_node = local and "rpc" not in choices.answers
        values = {
            "rpc": choices.get("rpc", f"http://127.0.0.1:{port}"),
            "ws": choices.get("ws", f"ws://127.0.0.1:{port}" if own_node else ""),
            "chain_id": str(self._chain_id(choices)),
            "contract": contract,
        }
        # A new configuration is careful with small amounts too; an operator may lower `finality_base`.
        timing = timing_from(self._profile(choices).timing())
        return section_text(__package__, choices, timing, poll="3.0", values=values)

    def _profile(self, choices: InitChoices) -> EvmProfile:
        try:
            return profile_for(self._chain_id(choices), choices.network)
        except ProfileError as error:
            raise FamilyError(
                f"chains.{choices.chain}: {error}", "run `rainbow init` without this chain and add it by hand"
            ) from None

    def _chain_id(self, choices: InitChoices) -> int:
        local = choices.number if choices.network is Network.DEV else 0
        text = choices.get("chain-id", str(ETHEREUM_IDS[choices.network] + local))
        if not text.isdecimal():
            raise FamilyError(
                f"chains.{choices.chain}: {text!r} is not a chain id", "give a number such as 8453"
            )
        return int(text)

    def offer(self, choices: InitChoices) -> SampleOffer:
        """See `FamilyTools.offer`."""
        dear = self._chain_id(choices) in {ETHEREUM_IDS[Network.MAIN], ETHEREUM_IDS[Network.TEST]}
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

        chain_id = ETHEREUM_IDS[Network.DEV] + plan.number
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
