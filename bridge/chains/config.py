"""The configuration's sections of the five chains: one class each, with what it checks.

Adding a chain means adding a class here and its field in `ChainsConfig`; `bridge.wiring.ports` opens its
adapter. How fast and how sure a chain is stands in `relayers/<chain>/timing.py` alone: the defaults here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import Field, SecretStr, model_validator

from bridge.chains.config_fields import (
    DecimalText,
    EthereumContract,
    HttpUrl,
    OutputRef,
    Section,
    SolanaKey,
    WebSocketUrl,
    is_solana_key,
    to_units,
)
from bridge.protocol import instances
from bridge.protocol.timelocks import finality_depth, max_secured_amount
from bridge.protocol.types import Asset, ChainId, ChainTiming
from chain.params import Network as ZionNetwork
from relayers.cardano import timing as cardano_timing
from relayers.evm import timing as ethereum_timing
from relayers.solana import timing as solana_timing
from relayers.stellar import timing as stellar_timing
from relayers.zion import timing as zion_timing

SECONDS_PER_DAY = 86_400
STELLAR_DECIMALS = 7


class AssetConfig(Section):
    """An asset that may be swapped; `contract` is empty for a chain's native coin."""

    chain: ChainId
    symbol: str = Field(pattern=r"^[A-Za-z0-9]{1,12}$")
    decimals: int = Field(ge=0, le=30)
    contract: str = ""
    keep: DecimalText = "0"
    """Coins never offered to swaps: what the bridge's account needs for itself."""

    @property
    def asset(self) -> Asset:
        """The protocol's value."""
        return Asset(self.chain, self.symbol, self.decimals, self.contract)


class TimingConfig(Section):
    """What is assumed of a chain's clock and blocks; seconds, blocks, whole native coins."""

    block_interval: int = Field(ge=1, le=SECONDS_PER_DAY)
    finality_base: int = Field(ge=1)
    finality_cap: int = Field(ge=1)
    value_per_block: dict[str, DecimalText] = Field(default_factory=dict)
    """By asset key: each started portion of this many coins at stake demands one block more."""
    finalized_after: int = Field(0, ge=0, le=SECONDS_PER_DAY)
    """Seconds until the chain itself calls a block final, at the longest in ordinary times: that is waited
    for beside `finality_cap`. 0: depth alone decides."""
    finalized_above: dict[str, DecimalText] = Field(default_factory=dict)
    """By asset symbol: up to so many coins depth alone decides, from `finality_base` on. Of an asset that is
    not named every amount waits."""
    inclusion_p99: int = Field(ge=1)
    clock_skew: int = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> TimingConfig:
        if self.finality_cap < self.finality_base:
            raise ValueError("finality_cap is below finality_base")
        return self


def timing_from(
    timing: ChainTiming,
    *,
    base: int | None = None,
    cap: int | None = None,
    small: Mapping[str, str] | None = None,
) -> TimingConfig:
    """Return a chain's own numbers as defaults. `base` and `cap` (blocks) leave room below or above its
    finality depth for an operator's `value_per_block`, where more blocks make a lock safer. `small` is the
    default of `finalized_above`."""
    return TimingConfig(
        block_interval=timing.block_interval,
        finality_base=base or timing.finality_depth,
        finality_cap=cap or timing.finality_depth,
        finalized_after=timing.finalized_after,
        finalized_above=dict(small or {}),
        inclusion_p99=timing.inclusion_p99,
        clock_skew=timing.clock_skew,
    )


class ChainConfig(Section):
    """One chain: where its nodes are, who we are on it, and what may be spent on fees."""

    chain: ClassVar[ChainId]
    nodes_key: ClassVar[str] = "rpc_urls"
    """The key that says where the nodes are."""
    native_decimals: ClassVar[int]
    issued_contract: ClassVar[str] = ""
    """What the contract of an asset that is not native looks like (a pattern); "": there are none."""
    issued_words: ClassVar[str] = ""
    """The same for people."""
    issued_decimals: ClassVar[int | None] = None
    """What all tokens have, None where each has its own."""

    @property
    def lane_count(self) -> int:
        """How many lanes the bridge's locks may use (`LockTerms.lane`); 0: the chain has none."""
        return 0

    enabled: bool = True
    keystore: Path
    poll_interval: float = Field(ge=0.05, le=300)
    rpc_timeout: float = Field(10.0, gt=0, le=120)
    max_blocks_per_scan: int = Field(100, ge=1, le=10_000)
    timing: TimingConfig

    @property
    def urls(self) -> tuple[str, ...]:
        """Where its nodes answer; empty while none is configured."""
        raise NotImplementedError

    @classmethod
    def check_asset(cls, entry: AssetConfig) -> None:
        """Raise ValueError for an asset that this chain cannot have."""
        name = f"assets {entry.asset.key}"
        if not entry.contract:
            if entry.decimals != cls.native_decimals:
                raise ValueError(f"{name}: the native coin of {cls.chain} has {cls.native_decimals} decimals")
            return
        if not cls.issued_contract:
            raise ValueError(f"{name}: there are no assets but the native coin on {cls.chain}")
        if not re.fullmatch(cls.issued_contract, entry.contract):
            raise ValueError(f"{name}: an asset's contract on {cls.chain} is {cls.issued_words}")
        if cls.issued_decimals is not None and entry.decimals != cls.issued_decimals:
            raise ValueError(f"{name}: every asset on {cls.chain} has {cls.issued_decimals} decimals")


class NodesConfig(ChainConfig):
    """A chain that is read and written through the RPC of its nodes."""

    rpc_urls: tuple[HttpUrl, ...] = ()
    ws_url: WebSocketUrl = ""

    @property
    def urls(self) -> tuple[str, ...]:
        """The nodes, used in turn when one is down."""
        return self.rpc_urls


class ZionConfig(NodesConfig):
    """The ZION chain; its chain id follows from the network."""

    chain = instances.ZION
    native_decimals = 8

    keystore: Path = Path("keys/zion.json")
    poll_interval: float = Field(5.0, ge=0.05, le=300)
    max_fee: DecimalText = "1"
    """Highest fee for one ordinary transaction, whole ZION."""
    urgent_max_fee: DecimalText = "10"
    """Highest fee for a claim or refund, which saves money at stake."""
    timing: TimingConfig = timing_from(zion_timing.timing(ZionNetwork.MAIN), cap=120)


class EthereumConfig(NodesConfig):
    """Ethereum; `chain_id` guards against an RPC of another network."""

    chain = instances.ETHEREUM
    native_decimals = 18
    issued_contract = r"0x[0-9a-fA-F]{40}"
    issued_words = "an address, 0x and 40 hex digits"

    contract: EthereumContract = ""
    """The HTLC contract: its address, or the record that its deployment wrote."""
    chain_id: int = Field(1, ge=1)
    keystore: Path = Path("keys/ethereum.json")
    poll_interval: float = Field(3.0, ge=0.05, le=300)
    max_fee_per_gas_gwei: int = Field(300, ge=1)
    urgent_max_fee_per_gas_gwei: int = Field(3_000, ge=1)
    """For claims and refunds, which save money at stake."""
    max_priority_fee_per_gas_gwei: int = Field(10, ge=0)
    lanes: int = Field(64, ge=0, le=65_535)
    """Storage places that the bridge's locks use again and again, which is cheaper; 0: each makes its own."""

    @property
    def lane_count(self) -> int:
        """See `ChainConfig`."""
        return self.lanes

    timing: TimingConfig = timing_from(
        ethereum_timing.MAINNET, base=ethereum_timing.FINALITY_AT_BEST, small=ethereum_timing.SMALL
    )


class SolanaConfig(NodesConfig):
    """Solana; `genesis_hash` guards against an RPC of another cluster."""

    chain = instances.SOLANA
    native_decimals = 9
    issued_contract = r"[1-9A-HJ-NP-Za-km-z]{32,44}"
    issued_words = "its mint, 32 bytes in base58"

    contract: SolanaKey = ""
    """The HTLC program."""
    genesis_hash: SolanaKey = ""
    """Empty: that of mainnet-beta or of the public devnet, as `network` says; on dev any will do."""
    keystore: Path = Path("keys/solana.json")
    poll_interval: float = Field(1.0, ge=0.05, le=300)
    min_unit_price: int = Field(10_000, ge=0)
    """Micro-lamports per compute unit: what is bid when nobody else bids."""
    max_unit_price: int = Field(5_000_000, ge=1)
    urgent_max_unit_price: int = Field(50_000_000, ge=1)
    """For claims and refunds, which save money at stake."""
    index_lag: int = Field(8, ge=0, le=100)
    """Slots we stay behind the newest block: nodes index transactions a little later than blocks."""
    timing: TimingConfig = timing_from(solana_timing.MAINNET)

    @classmethod
    def check_asset(cls, entry: AssetConfig) -> None:
        """See `ChainConfig.check_asset`; a mint is exactly 32 bytes."""
        super().check_asset(entry)
        if entry.contract and not is_solana_key(entry.contract):
            raise ValueError(f"assets {entry.asset.key}: an asset's contract on solana is {cls.issued_words}")


class StellarConfig(ChainConfig):
    """Stellar through one Horizon server; `passphrase` guards against a Horizon of another network."""

    chain = instances.STELLAR
    nodes_key = "horizon_url"
    native_decimals = STELLAR_DECIMALS
    issued_contract = r"[A-Za-z0-9]{1,12}:G[A-Z2-7]{55}"
    issued_words = "written CODE:ISSUER"
    issued_decimals = STELLAR_DECIMALS

    horizon_url: HttpUrl = ""
    passphrase: str = ""
    """Empty: that of the public network, the testnet or a standalone network, as `network` says."""
    keystore: Path = Path("keys/stellar.json")
    poll_interval: float = Field(2.0, ge=0.05, le=300)
    channels: int = Field(0, ge=0, le=100)
    """Accounts that lend their sequences; change it only while nothing is pending."""
    max_fee_per_operation: DecimalText = "1"
    """Highest bid, whole XLM per operation; replacements come near it, quiet times never do."""
    timing: TimingConfig = timing_from(stellar_timing.MAINNET)

    @property
    def urls(self) -> tuple[str, ...]:
        """The Horizon server."""
        return (self.horizon_url,) if self.horizon_url else ()


class CardanoTestnet(StrEnum):
    """Cardano's public test networks."""

    PREPROD = "preprod"
    PREVIEW = "preview"


class CardanoConfig(ChainConfig):
    """Cardano through a Blockfrost service, or through Ogmios and Kupo at one's own node."""

    chain = instances.CARDANO
    nodes_key = "blockfrost_url"
    native_decimals = 6
    issued_contract = r"[0-9a-f]{56}([0-9a-f]{2}){0,32}"
    issued_words = "policy id and asset name in hex, lower case, without a dot"

    blockfrost_url: HttpUrl = ""
    """Ends before `/blocks/…`; of the public service that is `/api/v0`."""
    project_id: SecretStr = SecretStr("")
    """Blockfrost's key."""
    ogmios_url: WebSocketUrl = ""
    kupo_url: HttpUrl = ""
    """Both, instead of `blockfrost_url`."""
    testnet: CardanoTestnet = CardanoTestnet.PREPROD
    """Which one `network = "test"` means."""
    reference_script: OutputRef = ""
    """The output that carries the validator; "" attaches it to each claim and refund, which costs more."""
    zero_time: int = Field(0, ge=0)
    """Unix seconds of the first slot, for network dev alone: the others' are known."""
    keystore: Path = Path("keys/cardano.json")
    poll_interval: float = Field(5.0, ge=0.05, le=300)
    max_fee: DecimalText = "2"
    """Highest fee for one transaction, whole ADA."""
    time_to_live: int = Field(1_200, ge=60, le=SECONDS_PER_DAY)
    """Seconds after which a transaction of ours that did not land can land no more."""
    rollback_margin: int = Field(1_200, ge=0, le=SECONDS_PER_DAY)
    """Seconds beyond that in which a roll-back might still bring a lock into a block."""
    timing: TimingConfig = timing_from(cardano_timing.PUBLIC)

    @property
    def urls(self) -> tuple[str, ...]:
        """The service that shows the chain, or the two."""
        return tuple(url for url in (self.blockfrost_url, self.kupo_url, self.ogmios_url) if url)

    @model_validator(mode="after")
    def _one_service(self) -> CardanoConfig:
        own = bool(self.ogmios_url), bool(self.kupo_url)
        if own[0] is not own[1] or (any(own) and self.blockfrost_url):
            raise ValueError("give blockfrost_url, or ogmios_url and kupo_url, and not all of them")
        return self


AnyChainConfig = ZionConfig | EthereumConfig | SolanaConfig | StellarConfig | CardanoConfig
SECTIONS: dict[ChainId, type[AnyChainConfig]] = {
    kind.chain: kind for kind in (ZionConfig, EthereumConfig, SolanaConfig, StellarConfig, CardanoConfig)
}

Kind = TypeVar("Kind", bound=ChainConfig)


class ChainsConfig(Section):
    """The chains by name. ZION and Ethereum are always there, the others when their section is given."""

    zion: ZionConfig = ZionConfig()
    ethereum: EthereumConfig = EthereumConfig()
    solana: SolanaConfig | None = None
    stellar: StellarConfig | None = None
    cardano: CardanoConfig | None = None

    def timing(self, asset: Asset, amount: int) -> ChainTiming:
        """Return the timing of the asset's chain with the finality that this amount demands."""
        timing = self.get(asset.chain).timing
        portion = timing.value_per_block.get(asset.key)
        depth = timing.finality_base
        if portion is not None:
            depth = finality_depth(
                amount,
                base_depth=timing.finality_base,
                value_per_block=to_units(portion, asset.decimals),
                max_depth=timing.finality_cap,
            )
        small = to_units(timing.finalized_above.get(asset.symbol, "0"), asset.decimals)
        finalized = timing.finalized_after > 0 and amount > small
        return ChainTiming(
            block_interval=timing.block_interval,
            finality_depth=timing.finality_cap if finalized else depth,
            inclusion_p99=timing.inclusion_p99,
            clock_skew=timing.clock_skew,
            finalized_after=timing.finalized_after if finalized else 0,
        )

    def secured(self, asset: Asset) -> int | None:
        """Return the largest amount that the finality cap pays for, None where depth does not grow."""
        timing = self.get(asset.chain).timing
        portion = timing.value_per_block.get(asset.key)
        if portion is None:
            return None
        return max_secured_amount(
            base_depth=timing.finality_base,
            value_per_block=to_units(portion, asset.decimals),
            max_depth=timing.finality_cap,
        )

    def items(self) -> Iterator[tuple[ChainId, AnyChainConfig]]:
        """Yield every configured chain, enabled or not."""
        for chain in SECTIONS:
            section = getattr(self, chain)
            if section is not None:
                yield chain, section

    def get(self, chain: ChainId) -> AnyChainConfig:
        """Return the section of `chain`. Raises ValueError for a chain that has none."""
        section: AnyChainConfig | None = getattr(self, chain)
        if section is None:
            key = SECTIONS[chain].nodes_key
            raise ValueError(f"chains.{chain}: there is no such section; add it with {key}")
        return section

    def of(self, kind: type[Kind]) -> Kind:
        """Return the section of a kind. Raises ValueError when the file has none."""
        section = self.get(kind.chain)
        if not isinstance(section, kind):
            raise TypeError(f"chains.{kind.chain} is no {kind.__name__}")
        return section
