"""Where the Cardano network is and how far we go for it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from bridge.protocol.types import Asset, ChainId

if TYPE_CHECKING:
    from pycardano import Network as AddressNetwork

ADA = Asset(ChainId("cardano"), "ADA", 6)
"""The coin of the instance that is named after the family."""


class Network(StrEnum):
    """The networks, by the names that wallets use."""

    MAINNET = "mainnet"
    PREPROD = "preprod"
    PREVIEW = "preview"
    DEV = "dev"


class NetworkInfo(msgspec.Struct, frozen=True):
    """A network's magic number (as the genesis file has it) and its clock: the slot `zero_slot` began at
    `zero_time` (Unix seconds) and each slot since lasts a second. The devnet's zero time is its genesis'."""

    magic: int
    zero_time: int = 0
    zero_slot: int = 0


NETWORKS = {
    # The first Shelley slot of each network: epoch 208 on mainnet, epoch 4 on preprod, genesis on preview.
    Network.MAINNET: NetworkInfo(764824073, 1596059091, 4492800),
    Network.PREPROD: NetworkInfo(1, 1655769600, 86400),
    Network.PREVIEW: NetworkInfo(2, 1666656000, 0),
    Network.DEV: NetworkInfo(42),
}


_BYRON_SLOT = 20
"""Seconds of a slot before Shelley (byron-genesis.json, slotDuration): so the start of each network follows,
2017-09-23T21:44:51Z for mainnet as its shelley-genesis.json (systemStart) says."""


class CardanoSettings(msgspec.Struct, frozen=True):
    """What `open_port` needs.

    `chain` is the operator's name of this network. `blockfrost_url` ends before `/blocks/…` (with `/api/v0`
    on the public service); `project_id` is its key. `reference_script` names the output ("<tx id>#<index>")
    that carries the validator, "" to attach the validator to each claim and refund instead, which costs more.
    `assets` are the native tokens whose names and decimals are known. `zero_time` is the devnet's genesis,
    Unix seconds. With `ogmios_url` (ws:// or wss://) and `kupo_url` your own node is asked first, and
    Blockfrost, if it is named too, when that fails or has to agree. `max_head_age`: seconds after which a
    service whose newest block is that old is left (0: never).
    """

    blockfrost_url: str
    network: Network
    project_id: str = ""
    reference_script: str = ""
    assets: tuple[Asset, ...] = ()
    zero_time: int = 0
    time_to_live: int = 1_200
    """Seconds after which a transaction of ours that did not land can land no more."""
    rollback_margin: int = 1_200
    """Seconds beyond its time to live in which a roll-back might still bring a lock into a block."""
    max_fee: int = 2_000_000
    """Lovelace: no transaction costs more."""
    timeout: float = 10.0
    poll_interval: float = 5.0
    ogmios_url: str = ""
    kupo_url: str = ""
    chain: ChainId = ADA.chain
    other_blockfrosts: tuple[tuple[str, str], ...] = ()
    """More Blockfrost services: URL and project id ("" for none) of each."""
    max_head_age: float = 0.0

    @property
    def native(self) -> Asset:
        """The network's coin."""
        return Asset(self.chain, ADA.symbol, ADA.decimals)

    @property
    def magic(self) -> int:
        """The network's number, as its genesis file has it."""
        return NETWORKS[self.network].magic

    @property
    def address_network(self) -> AddressNetwork:
        """What addresses begin with."""
        # Imported here: reading a configuration needs this module but not pycardano, which takes a second.
        from pycardano import Network as AddressNetwork

        return AddressNetwork.MAINNET if self.network is Network.MAINNET else AddressNetwork.TESTNET

    @property
    def system_start(self) -> int | None:
        """Unix second at which the chain began; None where any will do."""
        info = NETWORKS[self.network]
        if info.zero_time:
            return info.zero_time - info.zero_slot * _BYRON_SLOT
        return self.zero_time or None

    def slot_at(self, time: int) -> int:
        """Return the slot that begins at `time` (Unix seconds)."""
        info = NETWORKS[self.network]
        return time - (info.zero_time or self.zero_time) + info.zero_slot

    def time_of(self, slot: int) -> int:
        """Return the Unix second at which a slot begins."""
        info = NETWORKS[self.network]
        return slot - info.zero_slot + (info.zero_time or self.zero_time)

    def __repr__(self) -> str:
        # URLs and project id may be credentials.
        return f"CardanoSettings({self.chain}, network={self.network.value})"
