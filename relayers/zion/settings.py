"""Where the ZION network is and how far we go for it."""

from __future__ import annotations

import msgspec

from bridge.protocol.types import Asset, ChainId
from chain.rules.params import COIN, NETWORKS, Network

ZION = Asset(ChainId("zion"), "ZION", 8)
"""The coin of the instance that is named after the family."""


class ZionSettings(msgspec.Struct, frozen=True):
    """What `open_port` needs.

    `chain` is the operator's name of this network. `rpc_urls` are used in turn when one is down. `max_fee`
    (smallest units) caps the fee of an ordinary transaction, `urgent_max_fee` that of a claim or refund.
    `timeout` is seconds for one request, `poll_interval` seconds between polls while there is no WebSocket,
    `max_head_age` seconds after which a node's newest block is too old to ask that node (0: never).
    """

    rpc_urls: tuple[str, ...]
    network: Network
    max_fee: int = COIN
    urgent_max_fee: int = 10 * COIN
    timeout: float = 10.0
    poll_interval: float = 5.0
    max_head_age: float = 0.0
    chain: ChainId = ZION.chain

    @property
    def native(self) -> Asset:
        """The network's coin."""
        return Asset(self.chain, ZION.symbol, ZION.decimals)

    @property
    def chain_id(self) -> int:
        """The network's number in every transaction."""
        return NETWORKS[self.network].chain_id

    def __repr__(self) -> str:
        # URLs may contain credentials.
        return f"ZionSettings({self.chain}, network={self.network.value})"
