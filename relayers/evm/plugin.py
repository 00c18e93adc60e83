"""The family `evm`: Ethereum and the chains that run its virtual machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bridge.chains.config import NodesSection, TimingConfig
from bridge.chains.config_fields import HttpUrl, matching
from bridge.chains.family import Instance, section_of
from bridge.chains.network import Network
from bridge.chains.port import ChainPort, WalletBuilder
from bridge.chains.traits import Traits
from bridge.chains.wallet_keys import HexKeys
from bridge.keys.keystore import SecretKey
from bridge.protocol.types import Address
from relayers.evm.profiles import ETHEREUM_IDS, EvmProfile, ProfileError, profile_for
from relayers.evm.timing import timing_of
from relayers.evm.tools import EvmTools
from relayers.evm.traits import TRAITS, traits_of

if TYPE_CHECKING:
    from relayers.evm.settings import EvmSettings

GWEI = 10**9

HtlcContract = Annotated[
    str,
    matching(
        r"0x[0-9a-fA-F]{40}|.+\.json",
        "Ethereum address (0x and 40 hex digits) or deployment record (a path that ends with .json)",
    ),
]


class EvmSection(NodesSection):
    """An EVM chain. Its chain id says which; what is known of that network are the defaults here."""

    native_decimals = 18
    issued_contract = r"0x[0-9a-fA-F]{40}"
    issued_words = "an address, 0x and 40 hex digits"

    contract: HtlcContract = ""
    """The HTLC contract: its address, or the record (`….json`) that `ape run deploy` wrote."""
    chain_id: int = Field(0, ge=0)
    """The network's chain id (EIP-155): what is known of that network are the defaults here, and an RPC of
    another one is refused. 0: Ethereum, or its test network or a local one, as `network` says."""
    profile: EvmProfile | None = None
    """What to assume of a network whose chain id is not known."""
    poll_interval: float = Field(3.0, ge=0.05, le=300)
    send_urls: tuple[HttpUrl, ...] = ()
    """Private endpoints (MEV protection) that claims are sent to instead of to the public pool, where anybody
    could copy their preimage and claim first. A claim that they do not bring into a block is sent to
    `rpc_urls` as well. Empty: claims are public from the start."""
    read_calldata: bool = True
    """Look into all transactions of each block for secrets that no log of the contract shows, such as those
    of claims that failed. false saves about half a megabyte for each full block of Ethereum."""
    max_fee_per_gas_gwei: int | None = Field(None, ge=1)
    """The highest fee per gas of an ordinary transaction, gwei; what the network usually needs unless set."""
    urgent_max_fee_per_gas_gwei: int | None = Field(None, ge=1)
    """The same for claims and refunds, which save money at stake."""
    max_priority_fee_per_gas_gwei: int | None = Field(None, ge=0)
    """The highest priority fee per gas, gwei; what the network usually needs unless set."""
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

    def chain_id_on(self, network: Network) -> int:
        """Return the network's number."""
        return self.chain_id or ETHEREUM_IDS[network]

    def network_name(self, network: Network) -> str:
        """See `ChainSection.network_name`."""
        return f"chain id {self.chain_id_on(network)}"

    def profile_on(self, network: Network) -> EvmProfile:
        """Return what is known of the network. Raises `ProfileError` where nothing is."""
        return profile_for(self.chain_id_on(network), network, self.profile)

    def default_timing(self, network: Network) -> TimingConfig:
        """See `ChainSection.default_timing`. Of an unknown network `problems` tells."""
        try:
            return timing_of(self.profile_on(network))
        except ProfileError:
            return timing_of(profile_for(ETHEREUM_IDS[Network.MAIN], Network.MAIN))

    def problems(self, network: Network) -> Iterator[str]:
        """See `ChainSection.problems`."""
        try:
            self.profile_on(network)
        except ProfileError as error:
            yield str(error)

    def located(self, base: Path) -> dict[str, object]:
        """See `ChainSection.located`; the contract may be the record of its deployment."""
        record = {"contract": str(base / self.contract)} if self.contract.endswith(".json") else {}
        return {**super().located(base), **record}


class EvmFamily:
    """See `bridge.chains.family.ChainFamily`."""

    name = "evm"
    section = EvmSection
    tools = EvmTools()
    wallet_keys = HexKeys("64 hexadecimal digits (MetaMask, Rabby, every EVM wallet)")

    def traits(self, instance: Instance) -> Traits:
        """See `ChainFamily.traits`."""
        return traits_of(section_of(instance, EvmSection).profile_on(instance.network))

    def account(self, instance: Instance, key: SecretKey) -> Address:  # noqa: ARG002 - the same on all
        """See `ChainFamily.account`."""
        from eth_account import Account

        return Address(str(Account.from_key(key.reveal()).address))

    def open_port(self, instance: Instance, key: SecretKey) -> ChainPort:
        """See `ChainFamily.open_port`."""
        from relayers.evm.adapter import open_port

        return open_port(settings_of(instance), key.reveal())

    def wallet_builder(self, instance: Instance) -> WalletBuilder:
        """See `ChainFamily.wallet_builder`."""
        from relayers.evm.adapter import open_port
        from relayers.evm.wallet import EvmWalletBuilder

        return EvmWalletBuilder(open_port(settings_of(instance), SecretKey.generate().reveal()))


def settings_of(instance: Instance) -> EvmSettings:
    """Return what the adapter needs. Raises `ProfileError` for an unknown network."""
    from relayers.evm.fees import FeeCaps
    from relayers.evm.settings import EvmSettings

    section = section_of(instance, EvmSection)
    profile = section.profile_on(instance.network)
    return EvmSettings(
        rpc_urls=section.rpc_urls,
        chain=instance.chain,
        chain_id=section.chain_id_on(instance.network),
        contract=section.contract,
        native=traits_of(profile).native(instance.chain),
        fee_model=profile.fee_model,
        reads_finalized=profile.finalized_after > 0,
        send_urls=section.send_urls,
        reads_calldata=section.read_calldata,
        ws_url=section.ws_url,
        assets=instance.assets,
        caps=FeeCaps(
            ordinary=(section.max_fee_per_gas_gwei or profile.max_fee_per_gas_gwei) * GWEI,
            urgent=(section.urgent_max_fee_per_gas_gwei or profile.urgent_max_fee_per_gas_gwei) * GWEI,
            priority=_either(section.max_priority_fee_per_gas_gwei, profile.max_priority_fee_per_gas_gwei)
            * GWEI,
            minimum_priority=profile.minimum_priority_wei,
        ),
        timeout=section.rpc_timeout,
        poll_interval=section.poll_interval,
        max_head_age=instance.oldest_head(_oldest_head(profile)),
    )


def _oldest_head(profile: EvmProfile) -> float:
    """Return the seconds after which an endpoint's head is too old: 25 blocks, and five minutes at least, so
    that a network that makes blocks only when there are transactions is not taken for a stuck node."""
    return max(300.0, 25 * profile.block_interval + profile.clock_skew)


def _either(set_by_operator: int | None, default: int) -> int:
    return default if set_by_operator is None else set_by_operator


FAMILY = EvmFamily()
