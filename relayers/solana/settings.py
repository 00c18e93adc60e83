"""Where a Solana cluster is and how far we go for it."""

from __future__ import annotations

import msgspec

from bridge.chains.issuer_powers import IssuerPower
from bridge.protocol.types import Asset, ChainId

SOL = Asset(ChainId("solana"), "SOL", 9)
"""The coin of the instance that is named after the family."""

MAINNET_GENESIS = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
DEVNET_GENESIS = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"
"""The clusters' genesis hashes, as Solana's documentation gives them."""


class SolanaFees(msgspec.Struct, frozen=True):
    """What we bid for priority, micro-lamports per compute unit: the market's price within these limits.

    A transaction asks for 10,000 to 90,000 units, so the minimum costs 100 to 900 lamports.
    """

    minimum: int = 10_000
    maximum: int = 5_000_000
    urgent_maximum: int = 50_000_000
    """For claims and refunds: they save money that is at stake already."""


class SolanaSettings(msgspec.Struct, frozen=True):
    """What `open_port` needs.

    `chain` is the operator's name of this cluster. `rpc_urls` are used in turn when one is down. `program`
    is the address of the HTLC program, `genesis_hash` the cluster's identity ("" asks for none). `assets`
    gives names and decimals to the mints we know, `powers` says by mint what its issuer may do. `index_lag`
    is how many slots we stay behind the newest confirmed one: nodes write their index of transactions by
    address a little later than their blocks. `max_head_age`: after which an endpoint whose newest slot has
    not moved is left (0: never). Times in seconds.
    """

    rpc_urls: tuple[str, ...]
    program: str
    genesis_hash: str = ""
    ws_url: str = ""
    assets: tuple[Asset, ...] = ()
    powers: dict[str, frozenset[IssuerPower]] = {}
    fees: SolanaFees = SolanaFees()
    timeout: float = 10.0
    poll_interval: float = 1.0
    index_lag: int = 8
    chain: ChainId = SOL.chain
    max_head_age: float = 0.0

    @property
    def native(self) -> Asset:
        """The cluster's coin."""
        return Asset(self.chain, SOL.symbol, SOL.decimals)

    @property
    def named(self) -> dict[str, Asset]:
        """The assets that have names here, by their mints; the coin is under ""."""
        return {"": self.native} | {asset.contract: asset for asset in self.assets}

    def __repr__(self) -> str:
        # URLs of hosted endpoints contain their API key.
        return f"SolanaSettings({self.chain}, program={self.program})"
