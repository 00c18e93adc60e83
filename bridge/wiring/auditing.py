"""ZION and Ethereum as an auditor sees them: `local_chains.Ledger` over a port and a node's records."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.chains.port import ChainPort
from bridge.protocol.types import Asset
from bridge.wiring.local_chains import LOCKS
from relayers.evm import accounting as ethereum_accounting
from relayers.zion import accounting as zion_accounting


class ZionLedger:
    """The ZION chain: balances from any node, all locks from the node's own sum."""

    def __init__(self, reader: ChainPort, rpc_url: str) -> None:
        self._reader = reader
        self._url = rpc_url

    async def holdings(self, accounts: Mapping[str, str], asset: Asset) -> dict[str, int]:
        """See `Ledger.holdings`."""
        held = {owner: await self._reader.balance(address, asset) for owner, address in accounts.items()}
        return {**held, LOCKS: await zion_accounting.locked(self._url)}

    async def fees_paid(self, payers: set[str], first: int, last: int) -> int:
        """See `Ledger.fees_paid`."""
        return await zion_accounting.fees_paid(self._url, payers, first, last)

    async def close(self) -> None:
        """The reader is its owner's to close."""


class EthereumLedger:
    """Ethereum: all locks are what the HTLC contract holds."""

    def __init__(self, reader: ChainPort, rpc_url: str) -> None:
        self._reader = reader
        self._url = rpc_url

    async def holdings(self, accounts: Mapping[str, str], asset: Asset) -> dict[str, int]:
        """See `Ledger.holdings`."""
        watched = {**accounts, LOCKS: self._reader.contract}
        return {owner: await self._reader.balance(address, asset) for owner, address in watched.items()}

    async def fees_paid(self, payers: set[str], first: int, last: int) -> int:
        """See `Ledger.fees_paid`."""
        return await ethereum_accounting.fees_paid(self._url, payers, first, last)

    async def close(self) -> None:
        """The reader is its owner's to close."""
