"""The family `evm`: Ethereum and the chains that run its virtual machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bridge.chains.config import NodesSection, TimingConfig, timing_from
from bridge.chains.config_fields import matching
from bridge.chains.family import Instance, section_of
from bridge.chains.network import Network
from bridge.chains.port import ChainPort, WalletBuilder
from bridge.chains.pure_wallet import PureWalletBuilder
from bridge.chains.traits import Traits
from bridge.keys.keystore import SecretKey
from relayers.evm import timing
from relayers.evm.tools import EvmTools
from relayers.evm.traits import TRAITS

if TYPE_CHECKING:
    from relayers.evm.settings import EthereumSettings

GWEI = 10**9

HtlcContract = Annotated[
    str,
    matching(
        r"0x[0-9a-fA-F]{40}|.+\.json",
        "Ethereum address (0x and 40 hex digits) or deployment record (a path that ends with .json)",
    ),
]


class EvmSection(NodesSection):
    """An EVM chain; `chain_id` guards against an RPC of another network."""

    native_decimals = 18
    issued_contract = r"0x[0-9a-fA-F]{40}"
    issued_words = "an address, 0x and 40 hex digits"

    contract: HtlcContract = ""
    """The HTLC contract: its address, or the record (`….json`) that `ape run deploy` wrote."""
    chain_id: int = Field(1, ge=1)
    """The network's chain id; an RPC of another network is refused."""
    poll_interval: float = Field(3.0, ge=0.05, le=300)
    max_fee_per_gas_gwei: int = Field(300, ge=1)
    """The highest fee per gas of an ordinary transaction, gwei."""
    urgent_max_fee_per_gas_gwei: int = Field(3_000, ge=1)
    """The same for claims and refunds, which save money at stake."""
    max_priority_fee_per_gas_gwei: int = Field(10, ge=0)
    """The highest priority fee per gas, gwei."""
    lanes: int = Field(64, ge=0, le=TRAITS.max_lanes)
    """Storage places that the bridge's locks use again and again, which is cheaper. 0: each lock makes its
    own."""

    @property
    def lane_count(self) -> int:
        """See `ChainSection.lane_count`."""
        return self.lanes

    @property
    def missing(self) -> str:
        """See `ChainSection.missing`."""
        return "" if self.contract else "contract is empty: deploy the HTLC and fill it in"

    def default_timing(self, network: Network) -> TimingConfig:  # noqa: ARG002 - the chain id says it
        """See `ChainSection.default_timing`."""
        return timing_from(timing.MAINNET, base=timing.FINALITY_AT_BEST)

    def located(self, base: Path) -> dict[str, object]:
        """See `ChainSection.located`; the contract may be the record of its deployment."""
        record = {"contract": str(base / self.contract)} if self.contract.endswith(".json") else {}
        return {**super().located(base), **record}


class EvmFamily:
    """See `bridge.chains.family.ChainFamily`."""

    name = "evm"
    section = EvmSection
    tools = EvmTools()

    def traits(self, instance: Instance) -> Traits:  # noqa: ARG002 - the same for all
        """See `ChainFamily.traits`."""
        return TRAITS

    def account(self, instance: Instance, key: SecretKey) -> str:  # noqa: ARG002 - the same on all
        """See `ChainFamily.account`."""
        from eth_account import Account

        return str(Account.from_key(key.reveal()).address)

    def open_port(self, instance: Instance, key: SecretKey) -> ChainPort:
        """See `ChainFamily.open_port`."""
        from relayers.evm.adapter import open_port

        return open_port(settings_of(instance), key.reveal())

    def wallet_builder(self, instance: Instance) -> WalletBuilder:
        """See `ChainFamily.wallet_builder`."""
        return PureWalletBuilder(self.open_port(instance, SecretKey.generate()))


def settings_of(instance: Instance) -> EthereumSettings:
    """Return what the adapter needs."""
    from relayers.evm.fees import FeeCaps
    from relayers.evm.settings import EthereumSettings

    section = section_of(instance, EvmSection)
    return EthereumSettings(
        rpc_urls=section.rpc_urls,
        chain_id=section.chain_id,
        contract=section.contract,
        ws_url=section.ws_url,
        assets=instance.assets,
        caps=FeeCaps(
            ordinary=section.max_fee_per_gas_gwei * GWEI,
            urgent=section.urgent_max_fee_per_gas_gwei * GWEI,
            priority=section.max_priority_fee_per_gas_gwei * GWEI,
        ),
        timeout=section.rpc_timeout,
        poll_interval=section.poll_interval,
    )


FAMILY = EvmFamily()
