"""The bridge's inventory: what it holds, what is promised, and what may still be sold.

    available = balance − kept − outstanding

`outstanding` are the live reservations, without what the destination's lock takes once it is final: that
money has left the balance already. Balances are the relayers' last readings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from bridge.config import Settings, to_text
from bridge.desk.refused import Reason, RefusedError
from bridge.protocol.types import Amount, Asset
from bridge.store import Transaction
from bridge.store.records import ChainStatus

RETRY_SECONDS = 30


class Need(msgspec.Struct, frozen=True):
    """An amount of an asset (smallest units) that a swap will take from the bridge. `after_lock`: not with
    the destination's lock but later, for a claim or a refund of ours."""

    asset: Asset
    amount: Amount
    after_lock: bool = False


class Holding(msgspec.Struct, frozen=True):
    """How one asset stands, smallest units. `balance` is None before its relayer has read it."""

    asset: Asset
    balance: Amount | None
    reserved: Amount
    kept: Amount
    seen_ms: int

    @property
    def available(self) -> Amount:
        """What may still be promised."""
        return Amount(max(0, (self.balance or 0) - self.kept - self.reserved))


class Inventory:
    """Reads holdings and makes reservations, inside the caller's transaction."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def holding(self, tx: Transaction, asset: Asset, status: ChainStatus | None = None) -> Holding:
        """Return how an asset stands; `status` saves reading its chain's again."""
        status = status or tx.chains.get(asset.chain)
        return Holding(
            asset=asset,
            balance=status.balances.get(asset.key) if status else None,
            reserved=tx.reservations.outstanding(asset.key),
            kept=self._settings.kept(asset.key),
            seen_ms=status.seen_ms if status else 0,
        )

    def all(self, tx: Transaction) -> list[Holding]:
        """Return how every configured asset stands."""
        return [self.holding(tx, entry.asset) for entry in self._settings.assets]

    def largest_of_strangers(self, tx: Transaction, asset: Asset, never_too_large: Amount) -> Amount:
        """Return the largest swap of a stranger now: a part of what the strangers' pool has left."""
        desk = self._settings.desk
        holding = self.holding(tx, asset)
        pool = max(0, (holding.balance or 0) - holding.kept) * desk.strangers_percent // 100
        left = max(0, pool - tx.reservations.outstanding_of_strangers(asset.key))
        part = left * desk.strangers_order_percent // 100
        return Amount(min(left, max(part, never_too_large), holding.available))

    def hold(
        self,
        tx: Transaction,
        needs: Iterable[Need],
        quote_id: str,
        expires_ms: int,
        *,
        firm: bool = True,
    ) -> None:
        """Reserve all needs for a quote, or none. Raises `RefusedError` (NO_INVENTORY). Without `firm` they
        are noted and do not count until a lock is seen.

        Assets are locked in one order for everybody, so that two quotes never wait for each other.
        """
        totals: dict[str, int] = defaultdict(int)
        parts: dict[tuple[str, bool], int] = defaultdict(int)
        assets: dict[str, Asset] = {}
        for need in needs:
            totals[need.asset.key] += need.amount
            parts[need.asset.key, need.after_lock] += need.amount
            assets[need.asset.key] = need.asset
        for key in sorted(totals):
            tx.lock(f"inventory:{key}")
            holding = self.holding(tx, assets[key])
            if holding.available < totals[key]:
                most = to_text(holding.available, assets[key].decimals)
                raise RefusedError(
                    Reason.NO_INVENTORY,
                    f"the bridge can promise {most} {key} now",
                    "ask for less, or try again when other swaps have ended",
                    RETRY_SECONDS,
                )
        for (key, after_lock), amount in parts.items():
            tx.reservations.hold(key, Amount(amount), quote_id, expires_ms, after_lock=after_lock, firm=firm)
