"""The five local chains of `rainbow devnet` and `rainbow demo`: one table of how each is made and used.

A chain's modules are imported when it is made: each brings its library, a second or two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bridge.chains.port import ChainPort, Devnet
from bridge.protocol import instances
from bridge.protocol.types import Asset, ChainId

CARDANO_ZERO_TIME = 1_735_689_600
"""When the first slot of the local Cardano begins: 2025-01-01, so that a configuration can name it before the
chain exists."""
_CLOCK_SKEW = 15
"""Seconds: blocks made on request push the local chains' clocks ahead of ours."""


class LocalChain(Devnet, Protocol):
    """A devnet whose node is a child process."""

    async def start(self) -> object:
        """Start the node, and on a fresh chain deploy what is needed."""
        ...

    def kill(self) -> None:
        """End the node at once, as `kill -9` does."""
        ...

    async def restart(self) -> None:
        """Start a killed node again, on the same port, with what it had stored."""
        ...


class Ledger(Protocol):
    """A chain as an auditor sees it: what accounts and locks hold, and what was paid in fees."""

    async def holdings(self, accounts: Mapping[str, str], asset: Asset) -> Mapping[str, int]:
        """Return what each account (owner → address) holds of an asset and what lies in `LOCKS` (and, where
        there are, in deposits), smallest units."""
        ...

    async def fees_paid(self, payers: set[str], first: int, last: int) -> int:
        """Return the native units that `payers` paid in the blocks `first` to `last`, both included."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


LOCKS = "locks"
"""Owner of what lies in open locks."""


@dataclass(frozen=True)
class Local:
    """One local chain: its node, its assets, and how to reach it once it runs.

    `section` is what `[chains.<name>]` of a configuration says of it, `url` where it answers, `ledger` opens
    its books (given any port to read with).
    """

    chain: ChainId
    name: str
    node: LocalChain
    native: Asset
    token: Asset | None
    url: str
    section: Callable[[], dict[str, Any]]
    ledger: Callable[[ChainPort], Ledger]


def make(chain: ChainId, directory: Path, *, block_time: int = 1, port: int = 0) -> Local:
    """Make a local chain, not started yet, that keeps its data in the directory. `block_time` in seconds;
    `port` 0 takes a free one."""
    return _MAKERS[chain](directory, block_time, port)


def _timing(block_time: int, finality: int, **more: Any) -> dict[str, Any]:
    return {
        "block_interval": block_time,
        "finality_base": finality,
        "finality_cap": finality,
        "inclusion_p99": 5 * block_time,
        "clock_skew": _CLOCK_SKEW,
        **more,
    }


def _zion(directory: Path, block_time: int, port: int) -> Local:
    from bridge.wiring.auditing import ZionLedger
    from relayers.zion.devnet.local import ZionDevnet
    from relayers.zion.settings import ZION

    node = ZionDevnet(directory, block_time=block_time, port=port)
    return Local(
        chain=instances.ZION,
        name="a ZION node",
        node=node,
        native=ZION,
        token=None,
        url=node.rpc_url,
        section=lambda: {
            "rpc_urls": [node.rpc_url],
            "timing": _timing(block_time, 3, finality_cap=6, value_per_block={ZION.key: "5000"}),
        },
        ledger=lambda reader: ZionLedger(reader, node.rpc_url),
    )


def _ethereum(directory: Path, block_time: int, port: int) -> Local:
    from bridge.wiring.auditing import EthereumLedger
    from relayers.evm.devnet.anvil import CHAIN_ID, AnvilDevnet
    from relayers.evm.settings import ETH

    node = AnvilDevnet(directory, block_time=block_time, persist=True, port=port)
    return Local(
        chain=instances.ETHEREUM,
        name="an Ethereum node",
        node=node,
        native=ETH,
        token=node.token,
        url=node.rpc_url,
        section=lambda: {
            "rpc_urls": [node.rpc_url],
            "ws_url": node.ws_url,
            "chain_id": CHAIN_ID,
            "contract": node.contract,
            "timing": _timing(block_time, 3),
        },
        ledger=lambda reader: EthereumLedger(reader, node.rpc_url),
    )


def _solana(directory: Path, block_time: int, port: int) -> Local:
    from relayers.solana.accounting import Ledger as SolanaLedger
    from relayers.solana.devnet.local import SolanaDevnet
    from relayers.solana.settings import SOL

    node = SolanaDevnet(directory, block_time=block_time, port=port)
    return Local(
        chain=instances.SOLANA,
        name="a Solana node",
        node=node,
        native=SOL,
        token=node.token,
        url=node.rpc_url,
        section=lambda: {
            "rpc_urls": [node.rpc_url],
            "ws_url": node.ws_url,
            "contract": str(node.program),
            "index_lag": 0,
            "timing": _timing(block_time, 3),
        },
        ledger=lambda _reader: SolanaLedger(node.rpc_url, str(node.program)),
    )


def _stellar(directory: Path, block_time: int, port: int) -> Local:
    from relayers.stellar.accounting import Ledger as StellarLedger
    from relayers.stellar.devnet.local import StellarDevnet
    from relayers.stellar.settings import XLM

    node = StellarDevnet(directory, block_time=block_time, port=port)
    return Local(
        chain=instances.STELLAR,
        name="a Stellar ledger",
        node=node,
        native=XLM,
        token=node.token,
        url=node.url,
        section=lambda: {"horizon_url": node.url, "timing": _timing(block_time, 1)},
        ledger=lambda _reader: StellarLedger(node.url, node.settings.passphrase, (XLM, node.token)),
    )


def _cardano(directory: Path, block_time: int, port: int) -> Local:
    from relayers.cardano.accounting import Ledger as CardanoLedger
    from relayers.cardano.devnet import CardanoDevnet
    from relayers.cardano.settings import ADA

    node = CardanoDevnet(directory, block_time=block_time, port=port, zero_time=CARDANO_ZERO_TIME)
    return Local(
        chain=instances.CARDANO,
        name="a Cardano ledger",
        node=node,
        native=ADA,
        token=node.token,
        url=node.blockfrost_url,
        section=lambda: {
            "blockfrost_url": node.blockfrost_url,
            "reference_script": node.settings.reference_script,
            "zero_time": node.settings.zero_time,
            "time_to_live": node.settings.time_to_live,
            "rollback_margin": node.settings.rollback_margin,
            "timing": _timing(block_time, 3),
        },
        ledger=lambda _reader: CardanoLedger(node.settings),
    )


_MAKERS: dict[ChainId, Callable[[Path, int, int], Local]] = {
    instances.ZION: _zion,
    instances.ETHEREUM: _ethereum,
    instances.SOLANA: _solana,
    instances.STELLAR: _stellar,
    instances.CARDANO: _cardano,
}
