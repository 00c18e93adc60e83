"""What requests may cost: a limit for one request, and a rate for one address.

A unit is about 0.1 ms of processor time on a 2.5 GHz core, measured as the answer for one transaction of a
block. A batch whose answers cost more than `REQUEST_UNITS` gets errors for the rest.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

REQUEST_UNITS = 6_000
"""Most units for one request, batches included: one full block of 4,096 transactions and some more."""

HEAVY_UNITS = 256
"""From here on an answer is made on a thread, so that others are answered meanwhile."""

BURST_UNITS = 20_000
UNITS_PER_SECOND = 2_000
"""What one address may use: a fifth of a core, and two seconds of it at once."""

ADDRESSES = 4_096
"""Addresses remembered; who is forgotten starts with a full budget."""


class AddressBudgets:
    """A token bucket for each address. The machine's own addresses have no limit: they are the operator's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def may_ask(self, address: str | None) -> bool:
        """Tell whether an address has anything left."""
        return address is None or _is_loopback(address) or self._tokens(address) > 0

    def spend(self, address: str | None, units: int) -> None:
        """Charge an address; it may go below zero, and waits for that."""
        if address is None or _is_loopback(address):
            return
        self._left[address] = (self._tokens(address) - units, self._clock())
        self._left.move_to_end(address)
        if len(self._left) > ADDRESSES:
            self._left.popitem(last=False)

    def _tokens(self, address: str) -> float:
        left, at = self._left.get(address, (float(BURST_UNITS), self._clock()))
        return min(float(BURST_UNITS), left + (self._clock() - at) * UNITS_PER_SECOND)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
