"""Where a Stellar network and our contract on it are, and how far we go for it."""

from __future__ import annotations

import msgspec
from stellar_sdk import Network

from bridge.chains.issuer_powers import IssuerPower
from bridge.protocol.types import Asset, ChainId, ChainTiming
from relayers.stellar.timing import MAINNET

DECIMALS = 7
"""Of XLM and of every issued asset on Stellar (amounts are int64 scaled by 10^7)."""
XLM = Asset(ChainId("stellar"), "XLM", DECIMALS)
"""The coin of the instance that is named after the family."""


class FeeCaps(msgspec.Struct, frozen=True):
    """Bounds of what we pay, in stroops.

    `minimum` and `maximum` bound the inclusion bid for one operation. The lower one costs nothing in quiet
    times, for only the ledger's base fee is charged; each replacement bids ten times as much, until the
    higher one. `resources` is the most that one transaction may pay for what it uses: a claim that must
    restore an archived lock together with the contract's code pays several XLM, at the highest rent 58
    (docs/chains/stellar.md), anything else a few hundredths. `keeping` is the most that is paid in a day
    to keep the contract from being archived.
    """

    minimum: int = 1_000
    maximum: int = 10_000_000
    resources: int = 60 * 10_000_000
    keeping: int = 15 * 10_000_000


class StellarSettings(msgspec.Struct, frozen=True):
    """What `open_port` needs.

    `chain` is the operator's name of this network, `contract` the HTLC contract's address (C…). `assets` are
    the assets the bridge deals in; issued ones name `CODE:ISSUER` as their contract. `powers` names, by the
    asset's contract, which powers of its issuer the operator accepts. `channels` is the number of channel
    accounts (0: the account itself is the source of everything, one transaction a ledger); change it only
    while nothing is pending. `validity` is how long (seconds) a signed transaction may still land,
    `request_timeout` seconds for one request, `max_head_age` seconds after which an endpoint whose newest
    ledger is older is left (0: no limit), `poll_interval` seconds between two looks for a new ledger.
    """

    rpc_urls: tuple[str, ...]
    contract: str
    passphrase: str = Network.PUBLIC_NETWORK_PASSPHRASE
    assets: tuple[Asset, ...] = ()
    powers: dict[str, frozenset[IssuerPower]] = {}
    channels: int = 0
    caps: FeeCaps = FeeCaps()
    timing: ChainTiming = MAINNET
    validity: int = 180
    request_timeout: float = 10.0
    max_head_age: float = 0.0
    poll_interval: float = 2.0
    chain: ChainId = XLM.chain

    @property
    def native(self) -> Asset:
        """The network's coin."""
        return Asset(self.chain, XLM.symbol, DECIMALS)

    @property
    def kept(self) -> tuple[Asset, ...]:
        """The assets whose entries are kept from being archived: the coin and all that are dealt in."""
        return tuple(dict.fromkeys((self.native, *self.assets)))

    def __repr__(self) -> str:
        # URLs of hosted endpoints contain their API key.
        return f"StellarSettings({self.chain}, {self.passphrase!r}, contract={self.contract})"
