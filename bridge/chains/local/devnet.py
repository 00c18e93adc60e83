"""A local chain under test control, as the conformance tests and the demo drive it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bridge.protocol.types import Address, Amount, Asset, TxId


class Devnet(Protocol):
    """A local chain under test control: what conformance tests and the demo need beyond `ChainPort`."""

    async def mine(self, blocks: int) -> None:
        """Make blocks now."""
        ...

    async def advance_time(self, seconds: int) -> None:
        """Move the chain's clock forward, so that deadlines pass, and make the blocks this needs."""
        ...

    async def reorg(self, depth: int, drop: Sequence[TxId] = ()) -> None:
        """Replace the last `depth` blocks by a heavier branch without the transactions `drop`, which also
        leave the mempool; the others are included again."""
        ...

    async def fund(self, address: Address, asset: Asset, amount: Amount) -> None:
        """Give an address money from the devnet's treasury."""
        ...

    def describe(self) -> Mapping[str, str]:
        """Return URLs and paths worth printing."""
        ...

    async def stop(self) -> None:
        """End the chain's processes."""
        ...
