"""Instructions that a transaction uses.

The network counts the instructions of one particular interpreter and of its own metered code; they cannot be
counted exactly with another virtual machine. This is an estimate in the same unit, from a few kinds of work
with a price each. The recorded vectors of the real host hold it to a band (tests/unit/stellar/soroban).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from relayers.stellar.devnet.soroban.errors import Code, HostError, Type

PRICES: Final = {
    "wasm": 4,
    "transaction": 150_000,
    "call_wasm": 330_000,
    "call_asset": 110_000,
    "host_function": 5_000,
    "storage": 45_000,
    "verify_ed25519": 560_000,
    "uploaded_byte": 700,
}
"""Instructions for one of each: a wasm instruction, a call of a contract, an access to storage, …"""


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
