"""Balances before and after, and the proof that they add up to the last unit.

For every asset: what the watched accounts (user, bridge, HTLC) hold afterwards, plus the network
fees they paid, equals what they held before. Fees are read from the chains' own records, not
computed as the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from bridge.config import to_text
from bridge.protocol.types import Asset


@dataclass(frozen=True)
class Snapshot:
    """Balances by (asset key, owner), in smallest units."""

    balances: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class AssetAudit:
    """One asset's sums, in smallest units; `difference` must be 0."""

    asset: Asset
    before: int
    after: int
    fees: int
    minted: int

    @property
    def difference(self) -> int:
        """What is unaccounted for: created (positive) or lost (negative)."""
        return self.after + self.fees - self.before - self.minted


def audit(asset: Asset, before: Snapshot, after: Snapshot, fees: int, minted: int = 0) -> AssetAudit:
    """Add one asset up. `fees` went to miners, `minted` came from outside (block rewards) meanwhile."""

    def total(snapshot: Snapshot) -> int:
        return sum(amount for (key, _), amount in snapshot.balances.items() if key == asset.key)

    return AssetAudit(asset, total(before), total(after), fees, minted)


def balances_table(
    assets: list[Asset], before: Snapshot, after: Snapshot, audits: Mapping[str, AssetAudit]
) -> Table:
    """A row per account and asset, and a closing row per asset that adds up to zero. Fits 80 columns."""
    table = Table(title="Balances", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("asset", no_wrap=True)
    table.add_column("account")
    for column in ("before\nafter", "change"):
        table.add_column(column, justify="right", no_wrap=True)
    for asset in assets:
        owners = [owner for key, owner in before.balances if key == asset.key]
        for owner in owners:
            start = before.balances[(asset.key, owner)]
            end = after.balances[(asset.key, owner)]
            table.add_row(
                asset.symbol,
                owner,
                f"{to_text(start, asset.decimals)}\n{to_text(end, asset.decimals)}",
                to_text(end - start, asset.decimals),
            )
        result = audits[asset.key]
        verdict = (
            Text("adds up", style="green")
            if result.difference == 0
            else Text(f"off by\n{result.difference} units", style="bold red")
        )
        table.add_row(
            asset.symbol,
            "network fees paid",
            to_text(result.fees, asset.decimals),
            verdict,
            end_section=True,
        )
    return table
