"""Channel accounts: many transactions at once from one bridge account.

The network takes one pending transaction per source account. Channels are accounts of ours that do
nothing but lend their sequence. The bridge's sequence 2^62 + n belongs to channel n mod N: it is that
channel's (n div N)-th transaction since the channel was made. So the engine's one row of sequences needs no
record of who uses which channel, and after a crash everything is read off the chain. Sequences below 2^62
are the account's own: with these it makes its channels.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from stellar_sdk import Keypair

from bridge.chains.endpoints.json_rpc import Calls
from bridge.chains.errors import InsufficientFundsError
from relayers.stellar.accounts import Holder, read_holder

CHANNEL_BALANCE = 10_000_000
"""Stroops a channel is created with: its reserve. It never pays a fee, the bridge's account does."""
CHANNEL_BASE = 1 << 62
"""No account reaches this sequence before ledger 2^30, in some 190 years."""
_LEDGER_MASK = (1 << 32) - 1


def derived_key(seed: bytes, label: str) -> Keypair:
    """Return a key that only the holder of `seed` can make: HMAC-SHA256 of the label."""
    return Keypair.from_raw_ed25519_seed(hmac.new(seed, label.encode(), hashlib.sha256).digest())


@dataclass(frozen=True)
class Slot:
    """Where a sequence of the bridge's lies: the source account's key and its own sequence number."""

    source: Keypair
    sequence: int


class Sequences:
    """The bridge's sequences: its account's own without channels, else spread over these."""

    def __init__(self, account: Keypair, count: int) -> None:
        self._account = account
        seed = account.raw_secret_key()
        self.channels: Sequence[Keypair] = [
            derived_key(seed, f"rainbow stellar channel {n}") for n in range(count)
        ]

    async def missing(self, rpc: Calls) -> list[Keypair]:
        """Return the channels that do not exist yet."""
        return [each for each in self.channels if (await read_holder(rpc, each.public_key)).account is None]

    async def next(self, rpc: Calls) -> int:
        """Return the lowest sequence that no included transaction has used."""
        if not self.channels or await self.missing(rpc):
            used = (await read_holder(rpc, self._account.public_key)).sequence
            return 0 if used is None else used + 1
        count = len(self.channels)
        holders = [await self._holder(rpc, each) for each in self.channels]
        return CHANNEL_BASE + min(
            (_sequence(holder) & _LEDGER_MASK) * count + index for index, holder in enumerate(holders)
        )

    async def slot(self, rpc: Calls, sequence: int) -> Slot:
        """Return where a sequence lies."""
        if sequence < CHANNEL_BASE or not self.channels:
            return Slot(self._account, sequence)
        turn, index = divmod(sequence - CHANNEL_BASE, len(self.channels))
        channel = self.channels[index]
        # An account starts at its ledger's number shifted left by 32 bits (getStartingSequenceNumber).
        start = _sequence(await self._holder(rpc, channel)) & ~_LEDGER_MASK
        return Slot(channel, start + turn + 1)

    async def _holder(self, rpc: Calls, channel: Keypair) -> Holder:
        holder = await read_holder(rpc, channel.public_key)
        if holder.account is None:
            raise InsufficientFundsError(
                f"the channel account {channel.public_key} does not exist",
                "run the account's set-up actions first",
            )
        return holder


def _sequence(holder: Holder) -> int:
    return holder.sequence or 0
