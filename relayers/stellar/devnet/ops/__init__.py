"""The operations that the emulator knows; importing this package fills the table of rules."""

from relayers.stellar.devnet.ops import accounts, claimable, contracts, payments, sponsoring, trust
from relayers.stellar.devnet.ops.base import Context, Rules, Threshold, rules_of

__all__ = [
    "Context",
    "Rules",
    "Threshold",
    "accounts",
    "claimable",
    "contracts",
    "payments",
    "rules_of",
    "sponsoring",
    "trust",
]
