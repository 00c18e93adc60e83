"""Where one EVM network is, what it is called, and how far we go for it."""

from __future__ import annotations

import msgspec

from bridge.chains.errors import PortError
from bridge.protocol.types import Asset, ChainId
from relayers.evm.fees import FeeCaps
from relayers.evm.profiles import FeeModel

DECIMALS = 18
"""Of the native coin of every EVM network: the EVM counts in wei, 10⁻¹⁸ of it."""

ETHEREUM = ChainId("ethereum")
"""The name of an instance that was given none."""

ETH = Asset(ETHEREUM, "ETH", DECIMALS)
"""Its coin."""


class EvmSettings(msgspec.Struct, frozen=True):
    """What `open_port` needs of one instance of the family.

    `chain` is the operator's name of the instance, `native` its coin, `chain_id` the number that the network
    itself goes by (EIP-155): it is in every lock id and every signature, so that nothing made for one
    instance means anything on another.

    `fee_model` says what is charged beside gas × price. `reads_finalized`: the network's `finalized` block
    means something. `reads_calldata`: look for secrets in the transactions of every block. `rpc_urls` are
    used in turn when one is down, lags or contradicts itself. `contract` is the HTLC's address or the path of
    the record that `ape run deploy` wrote. `assets` gives names and decimals to the assets we know. `timeout`
    is seconds for one request, `poll_interval` seconds between polls while there is no WebSocket,
    `history_blocks` how far back the fate of a lock that is no longer open is looked for. `relayer` is the
    address that users authorise to claim for them and keep a fee, "" for the sender of each lock. `send_urls`
    are private endpoints that claims are sent to. `max_head_age`: seconds after which an endpoint whose head
    is older is left, 0 for no limit.
    """

    rpc_urls: tuple[str, ...]
    chain_id: int
    contract: str
    chain: ChainId = ETHEREUM
    native: Asset = ETH
    fee_model: FeeModel = FeeModel.EIP1559
    reads_finalized: bool = False
    reads_calldata: bool = True
    send_urls: tuple[str, ...] = ()
    ws_url: str = ""
    assets: tuple[Asset, ...] = ()
    caps: FeeCaps = FeeCaps()
    timeout: float = 10.0
    poll_interval: float = 4.0
    history_blocks: int = 50_400
    max_head_age: float = 0.0
    relayer: str = ""

    def __post_init__(self) -> None:
        for asset in (self.native, *self.assets):
            if asset.chain != self.chain:
                raise PortError(
                    f"the asset {asset.key} belongs to chain {asset.chain}, not to {self.chain}",
                    "give each instance its own native coin and assets",
                )

    def __repr__(self) -> str:
        # URLs of hosted endpoints contain their API key.
        return f"EvmSettings({self.chain}, chain_id={self.chain_id}, contract={self.contract})"
