"""The family `stellar`: Stellar's networks through Stellar RPC and our Soroban contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bridge.chains.config import AssetConfig, NodesSection, TimingConfig, timing_from
from bridge.chains.config_fields import DecimalText, matching, to_units
from bridge.chains.family import Instance, section_of
from bridge.chains.network import Network
from bridge.chains.port import ChainPort, WalletBuilder
from bridge.chains.traits import Traits
from bridge.keys.keystore import SecretKey
from bridge.protocol.types import Address, ChainId
from relayers.stellar import timing
from relayers.stellar.tools import StellarTools
from relayers.stellar.traits import TRAITS
from relayers.stellar.wallet_keys import StellarKeys

if TYPE_CHECKING:
    from relayers.stellar.settings import StellarSettings

DECIMALS = 7
OLDEST_HEAD = 90.0
"""Seconds: an endpoint whose newest ledger is older is left; ledgers close every five or six."""

ContractAddress = Annotated[str, matching(r"C[A-Z2-7]{55}", "contract's address (C…, 56 characters)")]


class StellarSection(NodesSection):
    """Stellar through its RPC; `passphrase` guards against an RPC of another network."""

    native_decimals = DECIMALS
    issued_contract = r"[A-Za-z0-9]{1,12}:G[A-Z2-7]{55}|C[A-Z2-7]{55}"
    issued_words = "written CODE:ISSUER, or a token's contract (C…)"

    contract: ContractAddress = ""
    """The address of the HTLC contract."""
    passphrase: str = ""
    """An RPC of another network is refused. "": that of the public network (`main`), the testnet (`test`) or
    a standalone network (`dev`)."""
    poll_interval: float = Field(2.0, ge=0.05, le=300)
    channels: int = Field(0, ge=0, le=100)
    """Accounts that lend their sequences. Change it only while nothing is pending."""
    max_fee_per_operation: DecimalText = "1"
    """The highest bid for a place in a ledger, whole XLM per operation. Replacements come near it, quiet
    times never do."""
    max_resource_fee: DecimalText = "60"
    """The most that one transaction may pay for what it uses, whole XLM. Claims that must restore what was
    archived pay some, in the worst case 58; all others a few hundredths."""

    max_keeping_per_day: DecimalText = "15"
    """The most that the relayer pays in a day to keep the contract from being archived, whole XLM. Above it
    only the cheap entries are kept, and `rainbow check` and `rainbow_upkeep_seconds` tell of the others."""

    @property
    def missing(self) -> str:
        """See `ChainSection.missing`."""
        return "" if self.contract else "contract is empty: deploy the HTLC and fill it in"

    def asset_problems(self, chain: ChainId, entry: AssetConfig) -> Iterator[str]:
        """See `ChainSection.asset_problems`; issued assets have seven decimals, tokens what they say."""
        from relayers.stellar.assets import is_token

        found = list(super().asset_problems(chain, entry))
        issued = ":" in entry.contract
        if not found and entry.contract and not issued and not is_token(entry.asset):
            found.append(f"assets {entry.asset.key}: this is not the address of a contract: mistyped?")
        if not found and issued and entry.decimals != DECIMALS:
            found.append(f"assets {entry.asset.key}: every issued asset on {chain} has {DECIMALS} decimals")
        yield from found

    def network_name(self, network: Network) -> str:
        """See `ChainSection.network_name`."""
        return _passphrase(self, network)

    def default_timing(self, network: Network) -> TimingConfig:  # noqa: ARG002 - all networks alike
        """See `ChainSection.default_timing`."""
        return timing_from(timing.MAINNET)


class StellarFamily:
    """See `bridge.chains.family.ChainFamily`."""

    name = "stellar"
    section = StellarSection
    tools = StellarTools()
    wallet_keys = StellarKeys()

    def traits(self, instance: Instance) -> Traits:  # noqa: ARG002 - the same for all
        """See `ChainFamily.traits`."""
        return TRAITS

    def account(self, instance: Instance, key: SecretKey) -> Address:  # noqa: ARG002 - the same on all
        """See `ChainFamily.account`."""
        from stellar_sdk import Keypair

        return Address(Keypair.from_raw_ed25519_seed(key.reveal()).public_key)

    def open_port(self, instance: Instance, key: SecretKey) -> ChainPort:
        """See `ChainFamily.open_port`."""
        from relayers.stellar.adapter import open_port

        return open_port(settings_of(instance), key.reveal())

    def wallet_builder(self, instance: Instance) -> WalletBuilder:
        """See `ChainFamily.wallet_builder`: it needs a sequence and a simulation."""
        from relayers.stellar.wallet import StellarWallet

        return StellarWallet(settings_of(instance))


def settings_of(instance: Instance) -> StellarSettings:
    """Return what the adapter needs."""
    from relayers.stellar.settings import FeeCaps, StellarSettings

    section = section_of(instance, StellarSection)
    return StellarSettings(
        chain=instance.chain,
        rpc_urls=section.rpc_urls,
        contract=section.contract,
        passphrase=passphrase_of(instance),
        assets=instance.assets,
        powers=dict(instance.accepted),
        channels=section.channels,
        caps=FeeCaps(
            maximum=to_units(section.max_fee_per_operation, DECIMALS),
            resources=to_units(section.max_resource_fee, DECIMALS),
            keeping=to_units(section.max_keeping_per_day, DECIMALS),
        ),
        request_timeout=section.rpc_timeout,
        poll_interval=section.poll_interval,
        max_head_age=instance.oldest_head(OLDEST_HEAD),
    )


def passphrase_of(instance: Instance) -> str:
    """Return the passphrase of the Stellar network that an instance is on."""
    return _passphrase(section_of(instance, StellarSection), instance.network)


def _passphrase(section: StellarSection, network: Network) -> str:
    from stellar_sdk import Network as StellarNetwork

    if section.passphrase:
        return section.passphrase
    return {
        Network.MAIN: StellarNetwork.PUBLIC_NETWORK_PASSPHRASE,
        Network.TEST: StellarNetwork.TESTNET_NETWORK_PASSPHRASE,
        Network.DEV: StellarNetwork.STANDALONE_NETWORK_PASSPHRASE,
    }[network]


FAMILY = StellarFamily()
