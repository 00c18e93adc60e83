"""What the configuration says of a chain: the section that every family's own section builds on.

A family subclasses `ChainSection`, adds its keys, and says with `default_timing` how fast and how sure its
networks are. Checks yield their findings instead of raising the first one, so that all are told at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from bridge.chains.config_fields import DecimalText, HttpUrl, Section, WebSocketUrl, to_units
from bridge.chains.issuer_powers import IssuerPower
from bridge.chains.network import Network
from bridge.protocol.timelocks import finality_depth, max_secured_amount, patience
from bridge.protocol.types import Amount, Asset, ChainId, ChainTiming

SECONDS_PER_DAY = 86_400

CHAIN_NAME = r"[a-z][a-z0-9]{1,15}"
"""What an operator may call a chain: it stands in asset keys, file names, variables and metrics."""


class AssetConfig(Section):
    """An asset that may be swapped; `contract` is empty for a chain's native coin."""

    chain: str = Field(pattern=rf"^{CHAIN_NAME}$")
    """The chain it is on, as named under `[chains]`."""
    symbol: str = Field(pattern=r"^[A-Za-z0-9]{1,12}$")
    """Its name in quotes and in `chain:SYMBOL`."""
    decimals: int = Field(ge=0, le=30)
    """How many decimals one whole coin has."""
    contract: str = ""
    """The token's address on its chain; "" for the native coin."""
    issuer_powers: tuple[IssuerPower, ...] = ()
    """Powers of its issuer that you accept; an asset whose issuer has others is refused, on chains that show
    them. `freeze`: the issuer can stop claims and refunds of all its locks, for as long as it likes.
    `clawback`: it can take locked money back, and then not every lock can be paid. `authorise`: nobody can be
    paid whom it has not authorised. USDC and USDT have `freeze`. Accepting one, you trust the issuer with
    everything that is locked in the asset at a time."""
    keep: DecimalText = "0"
    """Whole coins that are never offered to swaps: what the bridge's account needs for itself."""

    @property
    def asset(self) -> Asset:
        """The protocol's value."""
        return Asset(ChainId(self.chain), self.symbol, self.decimals, self.contract)


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
    depth_from: dict[DecimalText, int] = Field(default_factory=dict)
    """By whole native coins: from this amount on, at least so many confirmations."""
    inclusion_p99: int = Field(ge=1)
    clock_skew: int = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> TimingConfig:
        if self.finality_cap < self.finality_base:
            raise ValueError("finality_cap is below finality_base")
        return self

    @property
    def patience(self) -> int:
        """Seconds without a new block after which the chain is taken to stand still."""
        return patience(self.block_interval, self.inclusion_p99)

    def for_amount(self, asset: Asset, amount: Amount) -> ChainTiming:
        """Return the timing with the finality depth that `amount` (smallest units) demands."""
        portion = self.value_per_block.get(asset.key)
        depth = self.finality_base
        if portion is not None:
            depth = finality_depth(
                amount,
                base_depth=self.finality_base,
                value_per_block=to_units(portion, asset.decimals),
                max_depth=self.finality_cap,
            )
        steps = () if asset.contract else self._steps(asset)
        depth = max([depth, *(blocks for least, blocks in steps if amount >= least)])
        small = to_units(self.finalized_above.get(asset.symbol, "0"), asset.decimals)
        finalized = self.finalized_after > 0 and amount > small
        return ChainTiming(
            block_interval=self.block_interval,
            finality_depth=self.finality_cap if finalized else depth,
            inclusion_p99=self.inclusion_p99,
            clock_skew=self.clock_skew,
            finalized_after=self.finalized_after if finalized else 0,
            value_per_block=to_units(portion, asset.decimals) if portion is not None else 0,
            depth_steps=steps,
        )

    def _steps(self, asset: Asset) -> tuple[tuple[int, int], ...]:
        return tuple(
            (to_units(coins, asset.decimals), min(blocks, self.finality_cap))
            for coins, blocks in self.depth_from.items()
        )

    def secured(self, asset: Asset) -> Amount | None:
        """Return the largest amount that the finality cap pays for, None where depth does not grow."""
        portion = self.value_per_block.get(asset.key)
        if portion is None:
            return None
        return max_secured_amount(
            base_depth=self.finality_base,
            value_per_block=to_units(portion, asset.decimals),
            max_depth=self.finality_cap,
        )


class TimingOverrides(Section):
    """`[chains.<name>.timing]`: what an operator sets otherwise than the family's own numbers."""

    block_interval: int | None = Field(None, ge=1, le=SECONDS_PER_DAY)
    """Seconds between two blocks."""
    finality_base: int | None = Field(None, ge=1)
    """Confirmations after which the smallest amount counts as final."""
    finality_cap: int | None = Field(None, ge=1)
    """The most confirmations that are ever waited for. Amounts that would need more are refused."""
    value_per_block: dict[str, DecimalText] | None = None
    """By asset key: each started portion of this many coins needs one confirmation more."""
    finalized_after: int | None = Field(None, ge=0, le=SECONDS_PER_DAY)
    """Seconds until the chain itself calls a block final, which larger amounts wait for; 0: depth decides."""
    finalized_above: dict[str, DecimalText] | None = None
    """By asset symbol: up to so many coins the depth alone decides; above it, `finality_cap` and the block
    that the chain itself calls final."""
    depth_from: dict[DecimalText, int] | None = None
    """By whole native coins: from this amount at stake on, at least so many confirmations."""
    inclusion_p99: int | None = Field(None, ge=1)
    """Seconds within which 99 % of our transactions are included."""
    clock_skew: int | None = Field(None, ge=0)
    """Seconds by which a block's time may differ from the true time."""

    def over(self, defaults: TimingConfig) -> TimingConfig:
        """Return the defaults with what is set here. Raises pydantic's ValidationError where they clash."""
        return TimingConfig.model_validate(defaults.model_dump() | self.model_dump(exclude_none=True))


def timing_from(
    timing: ChainTiming,
    *,
    base: int | None = None,
    cap: int | None = None,
    small: Mapping[str, str] | None = None,
    depth_from: Mapping[str, int] | None = None,
) -> TimingConfig:
    """Return a chain's own numbers as defaults. `base` and `cap` (blocks) leave room below or above its
    finality depth for an operator's `value_per_block`, where more blocks make a lock safer. `small` is the
    default of `finalized_above`, `depth_from` of the key of that name."""
    return TimingConfig(
        block_interval=timing.block_interval,
        finality_base=base or timing.finality_depth,
        finality_cap=cap or timing.finality_depth,
        finalized_after=timing.finalized_after,
        finalized_above=dict(small or {}),
        depth_from=dict(depth_from or {}),
        inclusion_p99=timing.inclusion_p99,
        clock_skew=timing.clock_skew,
    )


class ChainSection(Section):
    """One chain: where its nodes are, who we are on it, and what may be spent on fees."""

    nodes_key: ClassVar[str] = "rpc_urls"
    """The key that says where the nodes are."""
    issued_contract: ClassVar[str] = ""
    """What the contract of an asset that is not native looks like (a pattern); "": there are none."""
    issued_words: ClassVar[str] = ""
    """The same for people."""
    native_decimals: ClassVar[int]

    family: str = ""
    """The kind of chain. It can be left out where the section's name says it, e.g. `[chains.zion]`."""
    enabled: bool = True
    """false: nothing is sold on this chain and no relayer runs for it."""
    keystore: Path = Path()
    """The keystore of the bridge's account; `keys/<name>.json` by default."""
    poll_interval: float = Field(5.0, ge=0.05, le=300)
    """Seconds between two looks at the chain."""
    rpc_timeout: float = Field(10.0, gt=0, le=120)
    """Seconds after which a request to a node is given up."""
    max_blocks_per_scan: int = Field(100, ge=1, le=10_000)
    """The most blocks taken in at once."""
    timing: TimingOverrides = TimingOverrides()

    @property
    def urls(self) -> tuple[str, ...]:
        """Where its nodes answer; empty while none is configured."""
        raise NotImplementedError

    @property
    def lane_count(self) -> int:
        """How many lanes the bridge's locks may use (`LockTerms.lane`); 0: the chain has none."""
        return 0

    @property
    def missing(self) -> str:
        """What a section still lacks before its chain can be used, in words; "" when it is complete."""
        return ""

    def network_name(self, network: Network) -> str:
        """Return which network the section means, in the family's words: what tells it from all others. It
        goes into the database, where it must stay the same from one version to the next."""
        return network.value

    def default_timing(self, network: Network) -> TimingConfig:
        """Return the family's own numbers for this network."""
        raise NotImplementedError

    def timing_on(self, network: Network) -> TimingConfig:
        """Return the family's numbers with the operator's own over them."""
        return self.timing.over(self.default_timing(network))

    def problems(self, network: Network) -> Iterator[str]:  # noqa: ARG002 - for families
        """Yield what is wrong with the section on this network, each in a sentence without its name."""
        yield from ()

    def asset_problems(self, chain: ChainId, entry: AssetConfig) -> Iterator[str]:
        """Yield why this chain cannot have an asset."""
        name = f"assets {entry.asset.key}"
        if not entry.contract:
            if entry.decimals != self.native_decimals:
                yield f"{name}: the native coin of {chain} has {self.native_decimals} decimals"
            return
        if not self.issued_contract:
            yield f"{name}: there are no assets but the native coin on {chain}"
        elif not re.fullmatch(self.issued_contract, entry.contract):
            yield f"{name}: an asset's contract on {chain} is {self.issued_words}"

    def located(self, base: Path) -> dict[str, object]:
        """Return the keys that hold paths, taken from the directory `base`."""
        return {"keystore": base / self.keystore}


class NodesSection(ChainSection):
    """A chain that is read and written through the RPC of its nodes."""

    rpc_urls: tuple[HttpUrl, ...] = ()
    """The nodes, used in turn when one is down."""
    ws_url: WebSocketUrl = ""
    """A WebSocket that wakes the relayer up. What counts is always polled."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The nodes, used in turn when one is down."""
        return self.rpc_urls
