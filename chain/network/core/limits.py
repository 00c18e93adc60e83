"""How much of each message a peer may send: token buckets by type, refilled by the minute."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from chain.network.messages import Type


class Over(Enum):
    """What happens to a message above its budget."""

    IGNORE = "ignore"
    CLOSE = "close"
    """The connection ends; the peer may come back."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages a minute, at most that many at once."""

    per_minute: float
    over: Over = Over.IGNORE


RATES: dict[int, Rate] = {
    Type.PING: Rate(10),
    Type.PONG: Rate(10),
    Type.ADDRESSES: Rate(20),
    Type.GET_HEADERS: Rate(60, Over.CLOSE),
    Type.HEADERS: Rate(120, Over.CLOSE),
    Type.GET_BLOCKS: Rate(240, Over.CLOSE),
    Type.NOT_FOUND: Rate(60),
    Type.SEND_COMPACT: Rate(4),
    Type.COMPACT_BLOCK: Rate(30),
    Type.GET_BLOCK_TRANSACTIONS: Rate(20),
    Type.INVENTORY: Rate(120),
    Type.GET_TRANSACTIONS: Rate(300),
    Type.FEE_FILTER: Rate(4),
    Type.BYE: Rate(1),
}
"""Budgets by type. Hello, ready and getaddr come once; blocks and transactions come only when asked for."""

UNKNOWN_TYPES = Rate(10, Over.CLOSE)
"""For types of later versions."""


@dataclass(slots=True)
class Bucket:
    """Holds at most `size` tokens, gains `per_second`. Starts full."""

    size: float
    per_second: float
    tokens: float = field(default=-1.0)
    at: float = 0.0

    def take(self, now: float, count: float = 1.0) -> bool:
        """Take tokens if there are enough. `now` is monotonic seconds."""
        if self.tokens < 0:
            self.tokens, self.at = self.size, now
        self.tokens = min(self.size, self.tokens + max(0.0, now - self.at) * self.per_second)
        self.at = now
        if self.tokens < count:
            return False
        self.tokens -= count
        return True

    def add(self, count: float) -> None:
        """Give tokens beyond the rate, up to `size`: an answer that was asked for."""
        self.tokens = min(self.size, max(self.tokens, 0.0) + count)


def bucket_of(rate: Rate) -> Bucket:
    """Return a full bucket of a rate."""
    return Bucket(rate.per_minute, rate.per_minute / 60)
