"""The family `solana`: Solana's clusters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from bridge.chains.config import AssetConfig, NodesSection, TimingConfig, timing_from
from bridge.chains.family import Instance, section_of
from bridge.chains.network import Network
from bridge.chains.port import ChainPort, WalletBuilder
from bridge.chains.traits import Traits
from bridge.keys.keystore import SecretKey
from bridge.protocol.types import Address, ChainId
from relayers.solana import timing
from relayers.solana.settings import DEVNET_GENESIS, MAINNET_GENESIS, SolanaFees, SolanaSettings
from relayers.solana.tools import SolanaTools
from relayers.solana.traits import TRAITS
from relayers.solana.wallet_keys import SolanaKeys

OLDEST_HEAD = 180.0
"""Seconds: 450 slots of 400 ms. A block's time is the median of its voters' clocks and may be some seconds
off; so much older, the endpoint stands still, or the whole cluster does."""

GENESIS = {Network.MAIN: MAINNET_GENESIS, Network.TEST: DEVNET_GENESIS, Network.DEV: ""}
"""Solana's public network for developers is called devnet; its testnet is for validators."""
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def is_solana_key(text: str) -> bool:
    """Tell whether a text is 32 bytes in base58."""
    number, zeros = 0, len(text) - len(text.lstrip("1"))
    for letter in text:
        digit = _BASE58.find(letter)
        if digit < 0:
            return False
        number = number * 58 + digit
    return zeros + (number.bit_length() + 7) // 8 == 32


def _solana_key(text: str) -> str:
    """Check 32 bytes in base58, which Solana's addresses, mints and hashes are; "" is let through."""
    if text and not is_solana_key(text):
        raise ValueError(f"{text!r} names no Solana address (32 bytes in base58)")
    return text


SolanaKey = Annotated[str, AfterValidator(_solana_key)]


class SolanaSection(NodesSection):
    """A Solana cluster; `genesis_hash` guards against an RPC of another one."""

    native_decimals = 9
    issued_contract = r"[1-9A-HJ-NP-Za-km-z]{32,44}"
    issued_words = "its mint, 32 bytes in base58"

    contract: SolanaKey = ""
    """The address of the HTLC program."""
    genesis_hash: SolanaKey = ""
    """An RPC of another cluster is refused. "": that of mainnet-beta (`main`) or of the public devnet
    (`test`); on `dev` any."""
    poll_interval: float = Field(1.0, ge=0.05, le=300)
    min_unit_price: int = Field(10_000, ge=0)
    """Micro-lamports per compute unit: what is bid when nobody else bids."""
    max_unit_price: int = Field(5_000_000, ge=1)
    """Micro-lamports per compute unit: the highest bid of an ordinary transaction."""
    urgent_max_unit_price: int = Field(50_000_000, ge=1)
    """The same for claims and refunds, which save money at stake."""
    index_lag: int = Field(8, ge=0, le=100)
    """Slots that we stay behind the newest block: nodes index transactions a little later than blocks."""

    @property
    def missing(self) -> str:
        """See `ChainSection.missing`."""
        return "" if self.contract else "contract is empty: deploy the HTLC and fill it in"

    def network_name(self, network: Network) -> str:
        """See `ChainSection.network_name`; local clusters get a new genesis each time."""
        if network is Network.DEV:
            return network.value
        return f"genesis {self.genesis_hash or GENESIS[network]}"

    def default_timing(self, network: Network) -> TimingConfig:  # noqa: ARG002 - all clusters alike
        """See `ChainSection.default_timing`."""
        return timing_from(timing.MAINNET)

    def asset_problems(self, chain: ChainId, entry: AssetConfig) -> Iterator[str]:
        """See `ChainSection.asset_problems`; a mint is exactly 32 bytes."""
        found = list(super().asset_problems(chain, entry))
        if not found and entry.contract and not is_solana_key(entry.contract):
            found.append(f"assets {entry.asset.key}: an asset's contract on {chain} is {self.issued_words}")
        yield from found


class SolanaFamily:
    """See `bridge.chains.family.ChainFamily`."""

    name = "solana"
    section = SolanaSection
    tools = SolanaTools()
    wallet_keys = SolanaKeys()

    def traits(self, instance: Instance) -> Traits:  # noqa: ARG002 - the same for all
        """See `ChainFamily.traits`."""
        return TRAITS

    def account(self, instance: Instance, key: SecretKey) -> Address:  # noqa: ARG002 - the same on all
        """See `ChainFamily.account`."""
        from solders.keypair import Keypair

        return Address(str(Keypair.from_seed(key.reveal()).pubkey()))

    def open_port(self, instance: Instance, key: SecretKey) -> ChainPort:
        """See `ChainFamily.open_port`."""
        from relayers.solana.adapter import open_port

        return open_port(settings_of(instance), key.reveal())

    def wallet_builder(self, instance: Instance) -> WalletBuilder:
        """See `ChainFamily.wallet_builder`: it needs a recent block."""
        from relayers.solana.wallet import SolanaWallet

        return SolanaWallet(settings_of(instance))


def settings_of(instance: Instance) -> SolanaSettings:
    """Return what the adapter and wallets need."""
    section = section_of(instance, SolanaSection)
    return SolanaSettings(
        chain=instance.chain,
        rpc_urls=section.rpc_urls,
        program=section.contract,
        genesis_hash=section.genesis_hash or GENESIS[instance.network],
        ws_url=section.ws_url,
        assets=instance.assets,
        powers=dict(instance.accepted),
        fees=SolanaFees(
            minimum=section.min_unit_price,
            maximum=section.max_unit_price,
            urgent_maximum=section.urgent_max_unit_price,
        ),
        timeout=section.rpc_timeout,
        poll_interval=section.poll_interval,
        index_lag=section.index_lag,
        max_head_age=instance.oldest_head(OLDEST_HEAD),
    )


FAMILY = SolanaFamily()
