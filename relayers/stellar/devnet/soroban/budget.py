"""Instructions that a transaction uses.

The network counts the instructions of one particular interpreter and of its own metered code; they cannot be
counted exactly with another virtual machine. This is an estimate in the same unit, from a few kinds of work
with a price each. A test holds it to the real host's recorded numbers: never below them by more than a few
percent (tests/unit/stellar/soroban/test_real_host.py).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from relayers.stellar.devnet.soroban.errors import Code, HostError, Type

PRICES: Final = {
    "wasm": 4,
    "transaction": 310_000,
    "call_wasm": 95_000,
    "call_asset": 58_000,
    "host_function": 3_000,
    "storage": 29_000,
    "verify_ed25519": 330_000,
    "uploaded_byte": 1_000,
    "key": 153_000,
    "restored": 136_000,
}
"""Instructions for one of each: a wasm instruction, a call, an access, a key of the footprint, …

Fitted to the recorded simulations of the real host, and a tenth above."""


class Budget:
    """Counts work and stops at a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counts: Counter[str] = Counter()

    @property
    def instructions(self) -> int:
        """What was used so far."""
        return sum(PRICES[kind] * count for kind, count in self.counts.items())

    def charge(self, kind: str, count: int = 1) -> None:
        """Count work. Raises `HostError` past the limit."""
        self.counts[kind] += count
        if self.instructions > self.limit:
            raise HostError(Type.SCE_BUDGET, Code.SCEC_EXCEEDED_LIMIT, "out of instructions")
