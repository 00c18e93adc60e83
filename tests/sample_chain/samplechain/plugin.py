"""The family `sample`: what the entry point names."""

from __future__ import annotations

from bridge.chains.config import NodesSection, TimingConfig, timing_from
from bridge.chains.errors import PortError
from bridge.chains.family import Instance, section_of
from bridge.chains.network import Network
from bridge.chains.port import ChainPort, WalletBuilder
from bridge.chains.pure_wallet import PureWalletBuilder
from bridge.chains.traits import Traits
from bridge.keys.keystore import SecretKey
from bridge.protocol.types import Address, ChainTiming
from samplechain.ledger import address_of
from samplechain.tools import SampleTools
from samplechain.traits import TRAITS

TIMING = ChainTiming(block_interval=1, finality_depth=3, inclusion_p99=5, clock_skew=15)


class SampleSection(NodesSection):
    """`[chains.<name>]` of a sample chain: where its node is; all else has defaults."""

    native_decimals = TRAITS.native_decimals

    def default_timing(self, network: Network) -> TimingConfig:
        """See `ChainSection.default_timing`."""
        return timing_from(TIMING)


class SampleFamily:
    """See `bridge.chains.family.ChainFamily`."""

    name = "sample"
    section = SampleSection
    tools = SampleTools()

    def traits(self, instance: Instance) -> Traits:
        """See `ChainFamily.traits`."""
        return TRAITS

    def account(self, instance: Instance, key: SecretKey) -> Address:
        """See `ChainFamily.account`."""
        return Address(address_of(key.reveal()))

    def open_port(self, instance: Instance, key: SecretKey) -> ChainPort:
        """See `ChainFamily.open_port`."""
        from samplechain.adapter import SamplePort

        section = section_of(instance, SampleSection)
        if not section.rpc_urls:
            raise PortError(f"chains.{instance.chain} has no rpc_urls", "add the URL of its node")
        return SamplePort(
            instance.chain,
            section.rpc_urls[0],
            key.reveal(),
            timeout=section.rpc_timeout,
            poll=section.poll_interval,
        )

    def wallet_builder(self, instance: Instance) -> WalletBuilder:
        """See `ChainFamily.wallet_builder`."""
        return PureWalletBuilder(self.open_port(instance, SecretKey.generate()))


FAMILY = SampleFamily()
