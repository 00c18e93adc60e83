"""A local Cardano: the scalus ledger behind a Blockfrost-compatible server."""

from relayers.cardano.devnet.local import CardanoDevnet
from relayers.cardano.devnet.treasury import DEMO_TOKEN

__all__ = ["DEMO_TOKEN", "CardanoDevnet"]
