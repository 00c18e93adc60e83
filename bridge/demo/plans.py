"""Who swaps what in the demonstration, and what the bridge offers for it.

To show one more swap add a line to `PLANS`: pairs and their limits follow from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from bridge.config import to_text
from bridge.protocol.types import Asset, ChainId, SwapState
from bridge.wiring.local_chains import numbers, tools_of

ETHEREUM, BASE = ChainId("ethereum"), ChainId("base")
ZION_CHAIN, SOLANA, STELLAR, CARDANO = (
    ChainId("zion"),
    ChainId("solana"),
    ChainId("stellar"),
    ChainId("cardano"),
)
FAMILIES = {
    ETHEREUM: "evm",
    BASE: "evm",
    ZION_CHAIN: "zion",
    SOLANA: "solana",
    STELLAR: "stellar",
    CARDANO: "cardano",
}
"""The chains of the demonstration, each an instance of a family; two are of one family."""
CHAINS = tuple(FAMILIES)


def _deals_in(chain: ChainId) -> tuple[Asset, ...]:
    """Return what a local chain has: its native coin, and its token if there is one."""
    return tools_of(FAMILIES[chain]).local_assets(chain, numbers(FAMILIES)[chain]).all


ETH, DEMO = _deals_in(ETHEREUM)
BASE_ETH, _ = _deals_in(BASE)
(ZION,) = _deals_in(ZION_CHAIN)
SOL, SUSD = _deals_in(SOLANA)
XLM, RUSD = _deals_in(STELLAR)
ADA, CUSD = _deals_in(CARDANO)
ASSETS = (ETH, DEMO, BASE_ETH, ZION, SOL, SUSD, XLM, RUSD, ADA, CUSD)
NATIVE = {asset.chain: asset for asset in ASSETS if not asset.contract}
CLAIM_FEE_PERCENT = 2
"""The most that a user allows who pays for the claim out of the amount."""

PRICES = {
    ETH: "3000",
    DEMO: "1",
    BASE_ETH: "3000",
    ZION: "2.5",
    SOL: "150",
    SUSD: "1",
    XLM: "0.25",
    RUSD: "1",
    ADA: "0.5",
    CUSD: "1",
}
"""What one whole coin is worth, in one unit for all."""

BRIDGE_MONEY = {
    ETH: 1_000 * 10**18,
    DEMO: 1_000_000 * 10**6,
    BASE_ETH: 1_000 * 10**18,
    ZION: 100_000 * 10**8,
    SOL: 10_000 * 10**9,
    SUSD: 1_000_000 * 10**6,
    XLM: 100_000 * 10**7,
    RUSD: 100_000 * 10**7,
    ADA: 500_000 * 10**6,
    CUSD: 1_000_000 * 10**6,
}
"""What the bridge begins with, in smallest units. """
KEEP = {ETH: "1", BASE_ETH: "1", ZION: "10", SOL: "1", XLM: "20", ADA: "100"}
"""Whole coins that are not offered: the bridge's own fees are paid from them."""

GAS_MONEY = {
    ETHEREUM: 10**17,
    BASE: 10**17,
    ZION_CHAIN: 10**8,
    SOLANA: 5 * 10**7,
    STELLAR: 10 * 10**7,
    CARDANO: 20 * 10**6,
}
"""What a user needs to send a few transactions, in the chain's smallest unit. On Stellar the reserve of an
account comes first, on Solana the rent of a vault, on Cardano collateral and change."""

_LEAST, _MOST = 1, 30_000
"""The limits of pairs, in the prices' unit."""


@dataclass(frozen=True)
class Plan:
    """One swap to be shown. `amount` is what the user sends, in smallest units; a user who `walks_away`
    locks and then does nothing until the deadline; one who `pays_claim` did not quote `gasless`, has nothing
    to pay a fee with, and signs what the relayer may keep of the amount."""

    name: str
    source: Asset
    destination: Asset
    amount: int
    gasless: bool = False
    walks_away: bool = False
    pays_claim: bool = False

    @property
    def is_claimed_for(self) -> bool:
        """Whether the relayer claims, so that the user needs no coins on the destination."""
        return self.gasless or self.pays_claim

    @property
    def route(self) -> str:
        """For people."""
        if self.source.symbol == self.destination.symbol:
            return f"{self.source.key} → {self.destination.key}"
        return f"{self.source.symbol} → {self.destination.symbol}"

    @property
    def expected(self) -> SwapState:
        """How it must end."""
        return SwapState.REFUNDED if self.walks_away else SwapState.COMPLETED


@dataclass(frozen=True)
class Round:
    """One person's value going through `route`, a swap for each step. `amount` is of its first asset, in
    smallest units; `gas` (the same of each chain) stays behind for the next step's lock."""

    name: str
    route: tuple[Asset, ...]
    amount: int
    gas: dict[ChainId, int]

    @property
    def steps(self) -> list[tuple[Asset, Asset]]:
        """The steps in order, from which asset to which."""
        return list(pairwise(self.route))


PLANS = (
    Plan("alice", ETH, ZION, 5 * 10**17, gasless=True),
    Plan("bob", ZION, ETH, 600 * 10**8),
    Plan("chuck", ZION, ETH, 250 * 10**8, pays_claim=True),
    Plan("carol", DEMO, ZION, 250 * 10**6, gasless=True),
    Plan("dave", ETH, ZION, 2 * 10**17, walks_away=True),
    Plan("erin", ZION, ETH, 300 * 10**8, walks_away=True),
    Plan("frank", XLM, ZION, 500 * 10**7, gasless=True),
    Plan("grace", ZION, XLM, 100 * 10**8),
    Plan("heidi", XLM, ETH, 2_000 * 10**7),
    Plan("ivan", RUSD, DEMO, 75 * 10**7, gasless=True),
    Plan("olivia", ZION, XLM, 80 * 10**8, gasless=True),
    Plan("pat", ETH, XLM, 10**17),
    Plan("ruth", DEMO, RUSD, 40 * 10**6, gasless=True),
    Plan("victor", XLM, ZION, 300 * 10**7, walks_away=True),
    Plan("wendy", ZION, XLM, 70 * 10**8, walks_away=True),
    Plan("judy", SOL, ZION, 4 * 10**9, gasless=True),
    Plan("kevin", ZION, SOL, 120 * 10**8),
    Plan("laura", SOL, ETH, 10 * 10**9),
    Plan("mike", SUSD, DEMO, 80 * 10**6, gasless=True),
    Plan("niaj", DEMO, SUSD, 70 * 10**6, gasless=True),
    Plan("nina", ADA, ZION, 400 * 10**6, gasless=True),
    Plan("oscar", ZION, ADA, 90 * 10**8),
    Plan("peggy", ADA, ETH, 1_500 * 10**6),
    Plan("peter", ETH, ADA, 8 * 10**16),
    Plan("quinn", CUSD, DEMO, 60 * 10**6, gasless=True),
    Plan("ray", DEMO, CUSD, 50 * 10**6, gasless=True),
    Plan("uma", ETH, BASE_ETH, 3 * 10**17, gasless=True),
    Plan("vince", BASE_ETH, ETH, 2 * 10**17),
    Plan("rupert", ADA, SOL, 300 * 10**6, walks_away=True),
    Plan("sybil", SOL, ADA, 2 * 10**9, walks_away=True),
)
CIRCLE = Round(
    "trent",
    (ZION, ETH, SOL, XLM, ADA, ZION),
    400 * 10**8,
    gas={
        ETHEREUM: 10**15,
        SOLANA: 5 * 10**6,
        STELLAR: 2 * 10**7,  # the account's reserve comes first
        CARDANO: 3 * 10**6,
    },
)


def offered_pairs(assets: Collection[Asset]) -> list[dict[str, Any]]:
    """Return the configuration's pairs: every route that somebody takes between these assets."""
    routes = {(plan.source, plan.destination): None for plan in PLANS} | dict.fromkeys(CIRCLE.steps)
    return [
        {
            "from": source.key,
            "to": destination.key,
            "min": worth(source, _LEAST),
            "max": worth(source, _MOST),
        }
        for source, destination in routes
        if source in assets and destination in assets
    ]


def offered_assets(assets: Iterable[Asset]) -> list[dict[str, Any]]:
    """Return the configuration's assets."""
    return [
        {
            "chain": asset.chain,
            "symbol": asset.symbol,
            "decimals": asset.decimals,
            "contract": asset.contract,
            "keep": KEEP.get(asset, "0"),
        }
        for asset in assets
    ]


def worth(asset: Asset, value: int) -> str:
    """Return how many whole coins are worth `value`, as decimal text, rounded down to six digits."""
    units = int(Decimal(value) / Decimal(PRICES[asset]) * 10**6) * 10**asset.decimals // 10**6
    return to_text(units, asset.decimals)


def assets_of(chains: Iterable[ChainId]) -> list[Asset]:
    """Return the assets on these chains."""
    wanted = set(chains)
    return [asset for asset in ASSETS if asset.chain in wanted]
