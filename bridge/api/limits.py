"""Rate limits: one token bucket per client and kind of request, in this process's memory.

The headers follow the IETF draft "RateLimit header fields for HTTP". With several API processes each has
its own buckets: the limit of all together is their sum (docs/configuration.md says so).
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

WINDOW_SECONDS = 60
MAX_BUCKETS = 50_000
"""How many clients are remembered; beyond it, the least recently seen one starts with a full bucket."""


class RateVerdict(msgspec.Struct, frozen=True):
    """Whether a request may pass, and what the headers say."""

    allowed: bool
    policy: str
    quota: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """Return the RateLimit headers, with Retry-After for a refusal."""
        headers = {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset}',
        }
        if not self.allowed:
            headers["Retry-After"] = str(self.reset)
        return headers


class RateLimiter:
    """Allows each client `quota` requests in a burst, and as many again each minute."""

    def __init__(self, policy: str, quota: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._quota = quota
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> RateVerdict:
        """Count one request of a client."""
        now = self._clock()
        level, at = self._buckets.pop(client, (float(self._quota), now))
        rate = self._quota / WINDOW_SECONDS
        level = min(self._quota, level + (now - at) * rate)
        allowed = level >= 1
        if allowed:
            level -= 1
        self._buckets[client] = (level, now)
        while len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        reset = math.ceil((1 - level) / rate) if level < 1 else 0
        return RateVerdict(allowed, self._policy, self._quota, int(level), max(reset, 0 if allowed else 1))


def client_address(peer: str, forwarded: Sequence[str], trusted_proxies: frozenset[str]) -> str:
    """Return the client that limits apply to.

    `forwarded` are the addresses of X-Forwarded-For, left to right; only what trusted proxies added at the
    right end is used. An IPv6 client counts by its /64, since it may use every address in it.
    """
    address = peer
    for hop in reversed(forwarded):
        if address not in trusted_proxies:
            break
        address = hop.strip()
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return peer or "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
