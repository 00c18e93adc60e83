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


Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_in(address: Address, networks: Networks) -> bool:
    """Tell whether an address belongs to one of the networks."""
    return any(_mapped(address) in network for network in networks)


def peer_group(address: Address) -> str:
    """Return what limits count as one client: an IPv4 address, or the /64 of an IPv6 address, since a client
    may use every address in it."""
    plain = _mapped(address)
    if isinstance(plain, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((plain, 64), strict=False))
    return str(plain)


def client_address(peer: str, forwarded: Sequence[str], trusted_proxies: Networks) -> str:
    """Return the client that limits apply to.

    `forwarded` are the addresses of X-Forwarded-For, left to right; only what trusted proxies added at the
    right end is used. Some proxies add a port: it is left out.
    """
    address = _parsed(peer)
    if address is None:
        return peer or "unknown"
    for hop in reversed(forwarded):
        if not is_in(address, trusted_proxies):
            break
        named = _parsed(hop.strip())
        if named is None:
            break
        address = named
    return peer_group(address)


def _mapped(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address


def _parsed(text: str) -> Address | None:
    """Return an address, with or without a port: `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80`."""
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        return None
