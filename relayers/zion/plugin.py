"""The family `zion`: our own proof-of-work chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from bridge.chains.config import NodesSection, TimingConfig, timing_from
from bridge.chains.config_fields import DecimalText, to_units
from bridge.chains.family import Instance, section_of
from bridge.chains.network import Network
from bridge.chains.port import ChainPort, WalletBuilder
from bridge.chains.pure_wallet import PureWalletBuilder
from bridge.chains.traits import Traits
from bridge.chains.wallet_keys import HexKeys
from bridge.keys.keystore import SecretKey
from bridge.protocol.types import Address
from chain.rules.params import COIN, NETWORKS
from chain.rules.params import Network as ZionNetwork
from relayers.zion import timing
from relayers.zion.tools import ZionTools
from relayers.zion.traits import TRAITS

if TYPE_CHECKING:
    from relayers.zion.settings import ZionSettings

FINALITY_CAP = 120
"""Blocks: room above the chain's own advice for an operator's `value_per_block`."""


class ZionSection(NodesSection):
    """A ZION chain; its chain id follows from the network."""

    native_decimals = 8

    max_fee: DecimalText = "1"
    """The highest fee of an ordinary transaction, whole ZION."""
    urgent_max_fee: DecimalText = "10"
    """The highest fee of a claim or refund, which saves money at stake, whole ZION."""
    poll_interval: float = Field(5.0, ge=0.05, le=300)

    def default_timing(self, network: Network) -> TimingConfig:  # noqa: ARG002 - real depths everywhere
        """See `ChainSection.default_timing`."""
        advice = {str(hint.amount // COIN): hint.depth for hint in NETWORKS[ZionNetwork.MAIN].finality}
        return timing_from(timing.timing(ZionNetwork.MAIN), cap=FINALITY_CAP, depth_from=advice)


class ZionFamily:
    """See `bridge.chains.family.ChainFamily`."""

    name = "zion"
    section = ZionSection
    tools = ZionTools()
    wallet_keys = HexKeys("64 hexadecimal digits")

    def traits(self, instance: Instance) -> Traits:  # noqa: ARG002 - the same for all
        """See `ChainFamily.traits`."""
        return TRAITS

    def account(self, instance: Instance, key: SecretKey) -> Address:  # noqa: ARG002 - the same on all
        """See `ChainFamily.account`."""
        from chain.wallet.keys import Key

        return Address(Key.from_secret(key.reveal()).address)

    def open_port(self, instance: Instance, key: SecretKey) -> ChainPort:
        """See `ChainFamily.open_port`."""
        from relayers.zion.adapter import open_port

        return open_port(settings_of(instance), key.reveal())

    def wallet_builder(self, instance: Instance) -> WalletBuilder:
        """See `ChainFamily.wallet_builder`."""
        return PureWalletBuilder(self.open_port(instance, SecretKey.generate()))


def settings_of(instance: Instance) -> ZionSettings:
    """Return what the adapter needs."""
    from relayers.zion.settings import ZionSettings

    section = section_of(instance, ZionSection)
    interval = section.timing_on(instance.network).block_interval
    return ZionSettings(
        chain=instance.chain,
        rpc_urls=section.rpc_urls,
        network=ZionNetwork(instance.network.value),
        max_fee=to_units(section.max_fee, section.native_decimals),
        urgent_max_fee=to_units(section.urgent_max_fee, section.native_decimals),
        timeout=section.rpc_timeout,
        poll_interval=section.poll_interval,
        max_head_age=instance.oldest_head(_BLOCKS_OF_SILENCE * interval),
    )


_BLOCKS_OF_SILENCE = 40
"""Block intervals: a head that shows the median of the last 11 blocks' times is six older than its block, and
34 more without a block happen once in 10^14 blocks."""

FAMILY = ZionFamily()
