"""The three networks and the constants of consensus. Amounts are in the smallest unit, 10⁻⁸ ZION."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

COIN = 10**8
"""Smallest units in one ZION."""

MAX_AMOUNT = 2**60
"""No amount, fee or tree size may exceed this: more than can ever be issued (see `chain.rules.rewards`), and
low enough that one amount and one fee sum without overflow."""

MAX_BLOCK_TRANSACTIONS = 4096
"""Transactions in a block, coinbase included: 1.3 MB."""

BLOCK_TIME = 60
"""Seconds between blocks that the difficulty aims at."""

FUTURE_LIMIT = 600
"""Seconds that a block's time may be ahead of the node's clock."""

MEDIAN_WINDOW = 11
"""Blocks whose times' median is the chain's clock for deadlines."""

LWMA_WINDOW = 90
"""Blocks that the difficulty looks back on."""

MIN_FEE = 1_000
"""Lowest fee the mempool takes (policy, not consensus): records have a fixed size, so a fee is a fee rate."""


class Network(StrEnum):
    """Name of a network."""

    MAIN = "main"
    TEST = "test"
    DEV = "dev"


@dataclass(frozen=True, slots=True)
class FinalityHint:
    """From `amount` (smallest units) on, wait for `depth` confirmations."""

    amount: int
    depth: int


@dataclass(frozen=True, slots=True)
class NetworkParams:
    """What differs between the networks.

    `pow_limit` is the compact form of the easiest target. Without `retarget` the target never changes (dev).
    `treasury` is created by the genesis block: dev only.
    """

    network: Network
    chain_id: int
    genesis_time: int
    pow_limit: int
    retarget: bool
    treasury: int
    rpc_port: int
    finality: tuple[FinalityHint, ...]
    finality_window: int = 288
    """Blocks below the head at which no branch may fork any more (policy, not consensus): a heavier branch
    that forks deeper is refused and reported, and an operator decides. Undo records end there too."""
    side_blocks: int = 64
    """Whole blocks kept that are neither on the main chain nor on the way to the heaviest header."""
    minimum_work: int = 0
    """Headers of a chain with less total work than this are not stored. 0 until a network has a history."""

    def finality_depth(self, amount: int) -> int:
        """Confirmations to wait for before relying on `amount`; a hint, not consensus."""
        return max(hint.depth for hint in self.finality if amount >= hint.amount)


MAIN = NetworkParams(
    network=Network.MAIN,
    chain_id=1,
    genesis_time=1_790_000_000,
    pow_limit=0x1E00FFFF,
    retarget=True,
    treasury=0,
    rpc_port=18_081,
    finality=(FinalityHint(0, 10), FinalityHint(1_000 * COIN, 30), FinalityHint(100_000 * COIN, 90)),
)
TEST = NetworkParams(
    network=Network.TEST,
    chain_id=2,
    genesis_time=1_790_000_000,
    pow_limit=0x1E0FFFFF,
    retarget=True,
    treasury=0,
    rpc_port=28_081,
    finality=(FinalityHint(0, 6), FinalityHint(1_000 * COIN, 12)),
)
DEV = NetworkParams(
    network=Network.DEV,
    chain_id=3,
    genesis_time=1_700_000_000,
    pow_limit=0x20100000,
    retarget=False,
    treasury=1_000_000_000 * COIN,
    rpc_port=38_081,
    finality=(FinalityHint(0, 4),),
    finality_window=1_024,
    side_blocks=2_048,
)
DEV_TREASURY_SECRET = hashlib.sha256(b"ZION dev network treasury: this key is public").digest()
"""Private key of the dev network's treasury. It is PUBLIC, and worth nothing elsewhere."""

NETWORKS = {params.network: params for params in (MAIN, TEST, DEV)}
