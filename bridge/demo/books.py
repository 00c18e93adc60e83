"""The books of the demonstration: all watched balances at one moment, and what was paid in fees since."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from bridge.chains.port import ChainPort
from bridge.client.swap import UserWallet
from bridge.demo.accounting import Snapshot
from bridge.demo.plans import ASSETS, CHAINS, NATIVE, assets_of
from bridge.demo.site import Site
from bridge.protocol.types import Address, Amount, Asset, BlockHeight, ChainId

BRIDGE = "bridge"


class Holder(Protocol):
    """Somebody whose money is watched."""

    @property
    def wallets(self) -> Mapping[ChainId, UserWallet]:
        """Their accounts."""
        ...

    @property
    def name(self) -> str:
        """Who it is."""
        ...

    @property
    def assets(self) -> frozenset[Asset]:
        """What passes through their hands."""
        ...


class Books:
    """Reads all watched balances at a moment when no block comes between two of them."""

    def __init__(self, site: Site, holders: Sequence[Holder]) -> None:
        self._holders = holders
        self._ports: dict[ChainId, ChainPort] = {chain: site.bridge_port(chain) for chain in CHAINS}
        self._ledgers = {chain: site.chains[chain].ledger(self._ports[chain]) for chain in CHAINS}

    async def read(self) -> tuple[Snapshot, dict[ChainId, BlockHeight]]:
        """Return the balances and the heights they belong to."""
        read = await asyncio.gather(*(self._read(chain) for chain in CHAINS))
        balances = {key: amount for found, _ in read for key, amount in found.items()}
        heights = {chain: height for chain, (_, height) in zip(CHAINS, read, strict=True)}
        return Snapshot(balances), heights

    async def _read(self, chain: ChainId) -> tuple[dict[tuple[str, str], Amount], BlockHeight]:
        port = self._ports[chain]
        while True:
            head = (await port.tip()).block
            found = {
                (asset.key, owner): amount
                for asset in assets_of([chain])
                for owner, amount in (await self._holdings(asset)).items()
            }
            if (await port.tip()).block == head:
                return found, head.height

    async def _holdings(self, asset: Asset) -> Mapping[str, Amount]:
        return await self._ledgers[asset.chain].holdings(self._accounts(asset), asset)

    async def fees(
        self, since: dict[ChainId, BlockHeight], until: dict[ChainId, BlockHeight]
    ) -> dict[str, int]:
        """Return what the watched accounts paid in fees in the blocks after `since` up to `until`, by asset;
        fees are always paid in native coins."""
        paid = await asyncio.gather(
            *(
                self._ledgers[chain].fees_paid(
                    set(self._accounts(NATIVE[chain]).values()), BlockHeight(since[chain] + 1), until[chain]
                )
                for chain in CHAINS
            )
        )
        return dict.fromkeys((asset.key for asset in ASSETS), 0) | {
            NATIVE[chain].key: fees for chain, fees in zip(CHAINS, paid, strict=True)
        }

    def _accounts(self, asset: Asset) -> dict[str, Address]:
        accounts = {
            holder.name: holder.wallets[asset.chain].address
            for holder in self._holders
            if asset in holder.assets
        }
        return {**accounts, BRIDGE: self._ports[asset.chain].account}

    async def close(self) -> None:
        """Close the connections."""
        for ledger in self._ledgers.values():
            await ledger.close()
        for port in self._ports.values():
            await port.close()
