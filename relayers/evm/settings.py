"""Where an Ethereum network is and how far we go for it."""

from __future__ import annotations

import msgspec

from bridge.protocol import instances
from bridge.protocol.types import Asset
from relayers.evm.fees import FeeCaps

ETH = Asset(instances.ETHEREUM, "ETH", 18)


class EthereumSettings(msgspec.Struct, frozen=True):
    """What `open_port` needs.

    `rpc_urls` are used in turn when one is down. `contract` is the HTLC's address or the path of the record
    that `ape run deploy` wrote. `assets` gives names and decimals to the tokens we know. `timeout` is seconds
    for one request, `poll_interval` seconds between polls while there is no WebSocket, `history_blocks` how
    far back the fate of a lock that is no longer open is looked for. `relayer` is the address that users
    authorise to claim for them and keep a fee, "" for the sender of each lock.
    """

    rpc_urls: tuple[str, ...]
    chain_id: int
    contract: str
    ws_url: str = ""
    assets: tuple[Asset, ...] = (ETH,)
    caps: FeeCaps = FeeCaps()
    timeout: float = 10.0
    poll_interval: float = 4.0
    history_blocks: int = 50_400
    relayer: str = ""

    def __repr__(self) -> str:
        # URLs of hosted endpoints contain their API key.
        return f"EthereumSettings(chain_id={self.chain_id}, contract={self.contract})"
