"""The fake chain under test control: `Devnet` over a `FakeChain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.protocol.types import Asset
from relayers.fake.adapter import FakePort
from relayers.fake.chain import FakeChain
from relayers.fake.wallet import FakeWallet


class FakeDevnet:
    """See `Devnet`. `port(account)` and `wallet(address)` give the bridge's and a user's view."""

    def __init__(self, chain: FakeChain) -> None:
        self.fake = chain

    def port(self, account: str = "bridge") -> FakePort:
        """Return a new line of the bridge to this chain."""
        return FakePort(self.fake, account)

    def wallet(self, address: str = "user") -> FakeWallet:
        """Return a user's wallet."""
        return FakeWallet(self.fake, address)

    async def mine(self, blocks: int) -> None:
        """See `Devnet`."""
        self.fake.mine(blocks)

    async def advance_time(self, seconds: int) -> None:
        """See `Devnet`: one block, `seconds` later."""
        self.fake.mine(1, interval=seconds)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """See `Devnet`."""
        self.fake.reorg(depth, drop)

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """See `Devnet`."""
        self.fake.credit(address, asset, amount)

    def describe(self) -> Mapping[str, str]:
        """See `Devnet`."""
        return {"chain": self.fake.chain, "kind": "in memory"}

    async def stop(self) -> None:
        """See `Devnet`."""
