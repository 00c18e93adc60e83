"""Where a Stellar network is and how far we go for it."""

from __future__ import annotations

import msgspec
from stellar_sdk import Network

from bridge.protocol.types import Asset, ChainId, ChainTiming
from relayers.stellar.timing import MAINNET

DECIMALS = 7
"""Every asset on Stellar has seven decimals (protocol: amounts are int64 scaled by 10^7)."""
XLM = Asset(ChainId("stellar"), "XLM", DECIMALS)
"""The coin of the instance that is named after the family."""


class FeeCaps(msgspec.Struct, frozen=True):
    """Bounds of what we bid, in stroops per operation.

    `minimum` costs nothing in quiet times, for only the ledger's base fee is charged, and keeps us in a
    ledger whose base fee jumps. Each replacement bids ten times as much; `maximum` ends that.
    """

    minimum: int = 1_000
    maximum: int = 10_000_000


class StellarSettings(msgspec.Struct, frozen=True):
    """What `open_port` needs.

    `chain` is the operator's name of this network. `assets` are the assets the bridge deals in; issued ones
    name `CODE:ISSUER` as their contract. `channels` is the number of channel accounts (0: the account itself
    is the source of everything, one transaction a ledger); change it only while nothing is pending.
    `validity` is how long (seconds) a signed transaction may still land, `request_timeout` seconds for one
    request, `history_pages` how many pages of 200 transactions of a sender are searched for a lock that no
    account shows any more.
    """

    horizon_url: str
    passphrase: str = Network.PUBLIC_NETWORK_PASSPHRASE
    assets: tuple[Asset, ...] = ()
    channels: int = 0
    caps: FeeCaps = FeeCaps()
    timing: ChainTiming = MAINNET
    validity: int = 180
    request_timeout: float = 10.0
    history_pages: int = 5
    chain: ChainId = XLM.chain

    @property
    def native(self) -> Asset:
        """The network's coin."""
        return Asset(self.chain, XLM.symbol, DECIMALS)

    def __repr__(self) -> str:
        # URLs of hosted endpoints contain their API key.
        return f"StellarSettings({self.chain}, {self.passphrase!r})"
