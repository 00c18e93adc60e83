"""What locks, claims and refunds cost at present, for quotes."""

from __future__ import annotations

import os

import msgspec

from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import FeeEstimate
from bridge.protocol.types import Address, Amount, Asset, LockTerms, UnixSeconds
from relayers.stellar import contract, fees
from relayers.stellar.accounts import MIN_NEW_ACCOUNT
from relayers.stellar.assets import is_token
from relayers.stellar.ledgers import read_tip
from relayers.stellar.policy import check_asset
from relayers.stellar.rpc import ask
from relayers.stellar.settings import StellarSettings
from relayers.stellar.simulation import simulate

LOCK = 550_000
"""Stroops for the resources of a lock where none can be simulated; 96 % of it is 120 days of rent."""
SPEND = 20_000
"""Stroops for the resources of a claim or refund, which pay no rent."""
TOKEN_SPEND = 100_000
"""The same for a token with code of its own, which is called as well and keeps its books in entries."""
_LIFETIME = 86_400
_VALID = 120
"""Ledgers for which an estimate is used again: ten minutes."""


class _Seen(msgspec.Struct, frozen=True):
    lock: int
    height: int


class Estimates:
    """Estimates for one account; a lock is simulated, which asks the network for its present rent."""

    def __init__(self, settings: StellarSettings, account: str) -> None:
        self._settings = settings
        self._account = account
        self._seen: dict[str, _Seen] = {}

    async def of(self, one: OneEndpoint, asset: Asset) -> FeeEstimate:
        """Return the expected cost in stroops. Raises `ActionRefusedError` for an asset that is not dealt in.

        Anybody may claim for a recipient: a gasless claim costs what a claim costs.
        """
        await check_asset(one, asset, self._settings)
        stats = await ask(one, "getFeeStats")
        market = fees.read_market(stats, self._settings.caps, contract_call=True)
        inclusion = 2 * market.charged
        spend = TOKEN_SPEND if is_token(asset) else SPEND
        return FeeEstimate(
            lock=Amount(inclusion + await self._lock(one, asset)),
            claim=Amount(inclusion + spend),
            refund=Amount(inclusion + spend),
            minimum=Amount(0 if asset.contract else MIN_NEW_ACCOUNT),
            gasless_claim=Amount(inclusion + spend),
        )

    async def _lock(self, one: OneEndpoint, asset: Asset) -> int:
        tip, _ = await read_tip(one)
        dealt_in = asset if is_token(asset) else self._settings.native
        seen = self._seen.get(dealt_in.contract)
        if seen is not None and 0 <= tip.block.height - seen.height < _VALID:
            return seen.lock
        own = Address(self._account)
        terms = LockTerms(
            chain=self._settings.chain,
            contract=Address(self._settings.contract),
            sender=own,
            recipient=own,
            asset=dealt_in,
            amount=Amount(1),
            hashlock=os.urandom(32),  # nobody opens it: it is never made
            deadline=UnixSeconds(tip.time + _LIFETIME),
        )
        operation = contract.lock_call(terms, self._settings.passphrase)
        try:
            simulated = await simulate(one, own, operation, self._settings.passphrase)
        except ActionRefusedError:
            return LOCK  # an account without money, say
        self._seen[dealt_in.contract] = _Seen(simulated.fee, tip.block.height)
        return simulated.fee
