"""What is known of EVM networks by their chain id: how fast and how sure they are, and what they charge.

Sources, in short, as the comments below name them:

- ids, coins and explorers: github.com/ethereum-lists/chains, `_data/chains/eip155-<id>.json`
- Ethereum: github.com/ethereum/consensus-specs, `specs/phase0/beacon-chain.md`
- OP stack: github.com/ethereum-optimism/superchain-registry, `superchain/configs/`;
  docs.optimism.io/stack/transactions/transaction-finality; docs.base.org/base-chain/specs/upgrades/fjord
- Arbitrum: docs.arbitrum.io/how-arbitrum-works/reference/finality-and-reorgs;
  docs.arbitrum.io/arbitrum-essentials/arbitrum-vs-ethereum/block-numbers-and-time
- Polygon: github.com/0xPolygon/polygon-docs, `docs/pos/concepts/finality/finality.md`; PIP-66
- BNB Smart Chain: github.com/bnb-chain/BEPs, BEP-126 and BEP-619
- Gnosis: docs.gnosischain.com/about/networks/mainnet
- how long others wait: developers.circle.com/cctp/v1/required-block-confirmations

Small amounts (of the native coin, up to `finalized_above`) settle at `depth` blocks. All else waits for
`finalized_depth` blocks and for the network's own `finalized` block to reach them, whichever comes later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pydantic import Field, model_validator

from bridge.chains.config_fields import DecimalText, HttpUrl, Section
from bridge.protocol.types import ChainTiming
from kernels.errors import RainbowError


class FeeModel(StrEnum):
    """What a transaction costs beside gas × price."""

    EIP1559 = "eip1559"
    """Nothing."""
    OP_STACK = "op_stack"
    """A fee for its bytes on the parent chain, in wei, outside the gas (the GasPriceOracle predeploy)."""
    ARBITRUM = "arbitrum"
    """A fee for its bytes on the parent chain, as gas: the node's gas estimate includes it."""


class ProfileError(RainbowError, ValueError):
    """A chain id that is not known on this network. The message ends with what to do."""


class EvmProfile(Section):
    """One network. An operator writes the same fields out as `[chains.<name>.profile]` for another one.

    Every profile's network takes EIP-1559 transactions and compares deadlines with `block.timestamp`.
    """

    name: str = Field(min_length=1)
    """What the network is called, for people."""
    native_symbol: str = Field(pattern=r"^[A-Za-z0-9]{1,12}$")
    """The native coin; it has 18 decimals."""
    block_interval: float = Field(gt=0, le=86_400)
    """Seconds between blocks."""
    depth: int = Field(ge=1)
    """Blocks that a small amount waits for, its own included."""
    finalized_depth: int = Field(ge=1)
    """Blocks that all else waits for, beside `finalized`."""
    finalized_after: int = Field(ge=0)
    """Seconds until the `finalized` block (eth_getBlockByNumber) reaches a new block, at the longest in
    ordinary times; 0: the network's `finalized` means nothing, depth alone decides."""
    finalized_above: DecimalText = "0"
    """Whole native coins up to which an amount is small."""
    inclusion_p99: int = Field(ge=1)
    """Seconds from broadcast to inclusion, for 99 of 100 of our transactions."""
    clock_skew: int = Field(ge=0)
    """Seconds that block timestamps may be off."""
    clock: str = ""
    """Who sets `block.timestamp`, and how far it may drift; for people."""
    fee_model: FeeModel = FeeModel.EIP1559
    """What a transaction pays beside gas: nothing, or for data, as the OP stack or Arbitrum has it."""
    minimum_priority_wei: int = Field(10**7, ge=0)
    """The least priority fee per gas that nodes and block producers take."""
    max_fee_per_gas_gwei: int = Field(300, ge=1)
    """The highest fee per gas of an ordinary transaction, gwei."""
    urgent_max_fee_per_gas_gwei: int = Field(3_000, ge=1)
    """The highest fee per gas of a claim or refund, gwei."""
    max_priority_fee_per_gas_gwei: int = Field(10, ge=0)
    """The most that is bid by default; the section's keys of the same names take precedence."""
    explorer: HttpUrl = ""
    """The block explorer, whose paths are those of EIP-3091; "" for none."""

    @model_validator(mode="after")
    def _ordered(self) -> EvmProfile:
        if self.finalized_depth < self.depth:
            raise ValueError("finalized_depth is below depth: large amounts cannot wait for fewer blocks")
        return self

    @property
    def whole_interval(self) -> int:
        """Seconds between blocks, rounded up: timelocks are computed in whole seconds, and a slower clock
        only makes them longer."""
        return max(1, math.ceil(self.block_interval))

    def timing(self, *, small: bool = False) -> ChainTiming:
        """Return what timelocks are computed from, for a small amount or for any other."""
        return ChainTiming(
            block_interval=self.whole_interval,
            finality_depth=self.depth if small else self.finalized_depth,
            inclusion_p99=self.inclusion_p99,
            clock_skew=self.clock_skew,
            finalized_after=0 if small else self.finalized_after,
        )

    def explorer_page(self, kind: str) -> str:
        """Return the explorer's URL of a "tx", "address" or "block" with `{}` in place of its id (EIP-3091);
        "" where there is no explorer."""
        return f"{self.explorer}/{kind}/{{}}" if self.explorer else ""


_ETHEREUM = EvmProfile(
    name="Ethereum",
    native_symbol="ETH",
    # SECONDS_PER_SLOT of the consensus specification; a missed slot only makes a block later.
    block_interval=12,
    # Two epochs of SLOTS_PER_EPOCH = 32: Casper FFG finalises no block sooner.
    depth=64,
    # 64 slots at best, 95 for the first block of an epoch: 96 blocks are past that whatever the position.
    finalized_depth=96,
    finalized_after=1_152,  # 96 slots; Circle waits 13 to 19 minutes
    finalized_above="1",  # a choice of ours
    # Ten slots: EIP-1559 lets the base fee grow by 1/8 per full block and we bid twice the base fee, so a
    # bid stays valid through five full blocks; the rest is for missed slots and one replacement.
    inclusion_p99=120,
    # Block timestamps are slot times; two slots cover a relayer whose clock is off by as much.
    clock_skew=24,
    clock="slot times, fixed by the protocol",
    explorer="https://etherscan.io",
)

_OP_MAINNET = EvmProfile(
    name="OP Mainnet",
    native_symbol="ETH",
    block_interval=2,  # block_time in the superchain registry
    # One minute. Until its data is on Ethereum a block is the sequencer's word ("unsafe"), and small amounts
    # take that word.
    depth=30,
    # Five minutes: a floor under an endpoint whose `finalized` runs ahead.
    finalized_depth=150,
    # 5 to 10 minutes until the data is on Ethereum (docs.optimism.io), and 95 slots until that is final.
    finalized_after=1_800,
    finalized_above="0.1",  # a choice of ours
    inclusion_p99=30,  # fifteen blocks; the sequencer takes what pays the base fee in the next one or two
    clock_skew=60,
    # max_sequencer_drift is 1,800 s since Fjord; derivation gives every block its parent's time + block_time.
    clock=(
        "the sequencer: 2 s after the parent block, never before its Ethereum block and at most 1,800 s "
        "after it"
    ),
    fee_model=FeeModel.OP_STACK,
    minimum_priority_wei=10**6,  # what eth_maxPriorityFeePerGas answers in docs.base.org's API reference
    max_fee_per_gas_gwei=20,
    urgent_max_fee_per_gas_gwei=200,
    max_priority_fee_per_gas_gwei=5,
    explorer="https://optimistic.etherscan.io",
)

_ARBITRUM_ONE = EvmProfile(
    name="Arbitrum One",
    native_symbol="ETH",
    block_interval=0.25,  # as viem's chain definitions have it; blocks come when there are transactions
    depth=240,  # one minute of the sequencer's word, as on the OP stack
    finalized_depth=1_200,  # five minutes, as on the OP stack
    # `finalized` is the newest block whose batch is final on Ethereum: batches come every few minutes.
    finalized_after=1_800,
    finalized_above="0.1",  # a choice of ours
    inclusion_p99=30,
    clock_skew=60,
    clock="the sequencer's clock: never backwards, at most 24 h behind or 1 h ahead of the time",
    fee_model=FeeModel.ARBITRUM,
    # docs.arbitrum.io/launch-arbitrum-chain/chain-config/costs/priority-fees: tips are not collected.
    minimum_priority_wei=0,
    max_fee_per_gas_gwei=20,
    urgent_max_fee_per_gas_gwei=200,
    max_priority_fee_per_gas_gwei=5,
    explorer="https://arbiscan.io",
)

_POLYGON = EvmProfile(
    name="Polygon PoS",
    native_symbol="POL",
    block_interval=2,  # PIP-66: "2s for primary block producers"
    # Two minutes; Circle waits for 33 blocks, 75 to 120 seconds.
    depth=64,
    finalized_depth=64,
    # Milestones make `finalized` 2 to 5 seconds old (Polygon's documentation); the depth is what takes time.
    finalized_after=128,
    finalized_above="1000",  # a choice of ours
    inclusion_p99=60,
    clock_skew=30,
    clock="the block producer: 2 s after the parent block",
    minimum_priority_wei=25 * 10**9,  # BorDefaultTxPoolPriceLimit of Polygon's nodes
    max_fee_per_gas_gwei=2_000,
    urgent_max_fee_per_gas_gwei=20_000,
    max_priority_fee_per_gas_gwei=500,
    explorer="https://polygonscan.com",
)

_MAINNETS = {
    1: _ETHEREUM,
    10: _OP_MAINNET,
    56: EvmProfile(
        name="BNB Smart Chain",
        native_symbol="BNB",
        block_interval=0.45,  # BEP-619, on mainnet since 2026-01-14 (docs.bnbchain.org/announce/fermi-bsc)
        # BEP-619, should fast finality fail: more than 1/2 of the validators in 176 blocks, 2/3 in 240.
        depth=176,
        finalized_depth=240,
        finalized_after=120,  # BEP-126: two blocks when all is well, 108 s for the 240
        finalized_above="1",  # a choice of ours
        inclusion_p99=30,
        clock_skew=15,
        clock="the validator in turn, 0.45 s after the parent block; the header shows whole seconds",
        # The base fee is 0 (BEP-226): the priority fee is the whole price. Validators take 0.05 gwei
        # (chainflip-io/chainflip-eth-contracts, pull request 535, of 2026-07-07).
        minimum_priority_wei=5 * 10**7,
        max_fee_per_gas_gwei=20,
        urgent_max_fee_per_gas_gwei=200,
        max_priority_fee_per_gas_gwei=20,
        explorer="https://bscscan.com",
    ),
    100: EvmProfile(
        name="Gnosis",
        native_symbol="XDAI",
        block_interval=5,  # docs.gnosischain.com: slot time 5 s, epochs of 16 slots, final after 2.7 minutes
        depth=32,  # two epochs, as on Ethereum
        finalized_depth=48,  # 47 for the first block of an epoch
        finalized_after=240,
        finalized_above="1000",  # a choice of ours
        inclusion_p99=50,  # ten slots, as on Ethereum
        clock_skew=10,
        clock="slot times, fixed by the protocol",
        explorer="https://gnosisscan.io",
    ),
    137: _POLYGON,
    8453: _OP_MAINNET.model_copy(update={"name": "Base", "explorer": "https://basescan.org"}),
    42161: _ARBITRUM_ONE,
}

_TESTNETS = {
    11155111: _ETHEREUM.model_copy(update={"name": "Sepolia", "explorer": "https://sepolia.etherscan.io"}),
    11155420: _OP_MAINNET.model_copy(
        update={"name": "OP Sepolia", "explorer": "https://optimism-sepolia.blockscout.com"}
    ),
    84532: _OP_MAINNET.model_copy(
        update={"name": "Base Sepolia", "explorer": "https://base-sepolia.blockscout.com"}
    ),
    421614: _ARBITRUM_ONE.model_copy(
        update={"name": "Arbitrum Sepolia", "explorer": "https://sepolia.arbiscan.io"}
    ),
    80002: _POLYGON.model_copy(update={"name": "Polygon Amoy", "explorer": "https://amoy.polygonscan.com"}),
}

_LOCAL = EvmProfile(
    name="a local network",
    native_symbol="ETH",
    # anvil with one-second blocks. It reorganises only on request; three blocks make reorgs testable.
    block_interval=1,
    depth=3,
    finalized_depth=3,
    finalized_after=0,  # anvil's `finalized` is a fixed distance from the head
    inclusion_p99=5,
    clock_skew=2,
    clock="anvil, under test control",
)

# 31337 is anvil's and Hardhat's default, 1337 that of `geth --dev`; further local instances count up from
# 31337. Public lists give some of these ids to others, so that they count on network dev alone.
_LOCAL_IDS = (1337, *range(31_337, 31_347))

ETHEREUM_IDS: Mapping[str, int] = MappingProxyType({"main": 1, "test": 11_155_111, "dev": _LOCAL_IDS[1]})
"""Ethereum itself by the configuration's `network`: the chain id that is meant when none is given."""

KNOWN: Mapping[str, Mapping[int, EvmProfile]] = MappingProxyType(
    {
        "main": MappingProxyType(_MAINNETS),
        "test": MappingProxyType(_TESTNETS),
        "dev": MappingProxyType(dict.fromkeys(_LOCAL_IDS, _LOCAL)),
    }
)
"""By the configuration's `network` and by chain id (EIP-155)."""


def profile_for(chain_id: int, network: str, written_out: EvmProfile | None = None) -> EvmProfile:
    """Return the profile of a network by its chain id; what the operator has written out takes precedence.

    `network` is the configuration's: "main", "test" or "dev". Raises `ProfileError` for an id that is not
    known there: how sure such a network is, and what it charges, cannot be guessed.
    """
    if written_out is not None:
        return written_out
    known = KNOWN[network]
    if chain_id in known:
        return known[chain_id]
    for other, profiles in KNOWN.items():
        if chain_id in profiles:
            raise ProfileError(
                f"chain id {chain_id} is {profiles[chain_id].name}, which is not of network {network!r}: "
                f"set network = {other!r}, or the chain id of another network"
            )
    raise ProfileError(
        f"chain id {chain_id} is not known on network {network!r} (known: "
        f"{', '.join(map(str, sorted(known)))}): correct it, or write the network's numbers out in a "
        f"profile table of this chain"
    )
