"""What `rainbow init` proposes: sections of the optional chains, native coins, pairs between all of them, and
example prices. One table each; a chain that joins gets its line here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template

from bridge.config import Network
from bridge.protocol import instances
from bridge.protocol.types import ChainId, ChainTiming
from chain.params import Network as ZionNetwork
from relayers.cardano import timing as cardano_timing
from relayers.evm import timing as ethereum_timing
from relayers.solana import timing as solana_timing
from relayers.stellar import timing as stellar_timing
from relayers.zion import timing as zion_timing

SPREAD_PPM = 3_000
DEV_SKEW = 15
"""Seconds: blocks made on request push the local chains' clocks ahead of ours."""
DEV_FACTOR = 10
"""How much more may be swapped at once on local chains."""


@dataclass(frozen=True)
class Coin:
    """A native coin: what is kept for fees, what it is worth, and the limits of its pairs, in whole coins.

    Ethereum's fees make small swaps with it senseless: `least_with_ethereum`.
    """

    key: str
    decimals: int
    keep: str
    price: str
    least: str
    least_with_ethereum: str
    most: int
    comment: str = ""


COINS = {
    instances.ZION: Coin("zion:ZION", 8, "10", "0.5", "5", "5", 4_000),
    instances.ETHEREUM: Coin("ethereum:ETH", 18, "0.05", "2000", "0.001", "0.001", 1),
    instances.SOLANA: Coin(
        *("solana:SOL", 9, "0.5", "150", "0.05", "0.5", 15),
        comment="SPL tokens: contract = their mint",
    ),
    instances.STELLAR: Coin(
        *("stellar:XLM", 7, "20", "0.25", "50", "500", 20_000),
        comment='issued assets: contract = "CODE:ISSUER", decimals = 7',
    ),
    instances.CARDANO: Coin(
        *("cardano:ADA", 6, "50", "0.5", "10", "100", 4_000),
        comment="native tokens: contract = policy id and asset name, hex",
    ),
}


def timing(chain: ChainId, network: Network) -> ChainTiming:
    """Return the chain's own numbers, those of its local network on dev."""
    dev = network is Network.DEV
    return {
        instances.ZION: zion_timing.timing(ZionNetwork(network.value)),
        instances.ETHEREUM: ethereum_timing.DEVNET if dev else ethereum_timing.MAINNET,
        instances.SOLANA: solana_timing.DEVNET if dev else solana_timing.MAINNET,
        instances.STELLAR: stellar_timing.DEVNET if dev else stellar_timing.MAINNET,
        instances.CARDANO: cardano_timing.DEVNET if dev else cardano_timing.PUBLIC,
    }[chain]


def section(chain: ChainId, network: Network, values: dict[str, str]) -> str:
    """Return the text of `[chains.<chain>]` and its timing; `values` say where its nodes are."""
    numbers = timing(chain, network)
    dev = network is Network.DEV
    known = {
        "interval": str(numbers.block_interval),
        "depth": str(numbers.finality_depth),
        "inclusion": str(numbers.inclusion_p99),
        "skew": str(DEV_SKEW if dev else numbers.clock_skew),
        "lag": "0" if dev else "8",
        "poll": "0.5"
        if dev
        else {instances.SOLANA: "1.0", instances.STELLAR: "2.0", instances.CARDANO: "5.0"}[chain],
    }
    text = (files("bridge.commands") / f"template_{chain}.toml").read_text()
    return Template(text).substitute(known | values)


def assets(chains: Sequence[ChainId]) -> str:
    """Return the `[[assets]]` of the chains' native coins."""
    parts = []
    for chain in chains:
        coin = COINS[chain]
        comment = f"                      # {coin.comment}" if coin.comment else ""
        symbol = coin.key.partition(":")[2]
        parts.append(
            f'\n[[assets]]{comment}\nchain = "{chain}"\nsymbol = "{symbol}"\n'
            f'decimals = {coin.decimals}\nkeep = "{coin.keep}"\n'
        )
    return "".join(parts)


def pairs(chains: Sequence[ChainId], network: Network) -> str:
    """Return `[[pairs]]` from each chain's native coin to each other's."""
    factor = DEV_FACTOR if network is Network.DEV else 1
    parts = []
    for source in chains:
        for destination in chains:
            if source is destination:
                continue
            coin = COINS[source]
            least = coin.least_with_ethereum if destination == instances.ETHEREUM else coin.least
            parts.append(pair(coin.key, COINS[destination].key, least, str(coin.most * factor)))
    return "".join(parts)


def pair(source: str, destination: str, least: str, most: str) -> str:
    """Return one `[[pairs]]`, limits in whole coins of `source`."""
    return (
        f'\n[[pairs]]\nfrom = "{source}"\nto = "{destination}"\nspread_ppm = {SPREAD_PPM}\n'
        f'min = "{least}"\nmax = "{most}"\ngasless = true\n'
    )


def prices(chains: Sequence[ChainId]) -> str:
    """Return example prices as the lines of a table."""
    return "".join(f'"{COINS[chain].key}" = "{COINS[chain].price}"\n' for chain in chains)
